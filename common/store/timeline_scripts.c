/*
 * Lua text of the timeline steps (layout of a timeline: domain/entry.h).
 *
 * Invariants every script keeps:
 *   - the last element is the header, and nothing takes it away but a deletion of the whole key;
 *   - complete with mark m: every feed entry with id >= m that was delivered or filled is in the list. Whatever drops
 *     an entry raises the mark above it in the same step;
 *   - an entry at a position after p has id <= id(p) + W (domain/view.h). A fill leaves strict order. A late insert
 *     goes in front of the first entry with a smaller id: those before it are greater, and those behind that smaller
 *     one are at most W above it, so the rule holds on both sides without sorting the list again. That matters: after
 *     an outage all of a backlog is late.
 *   - a building timeline is never trimmed: what would be dropped might be missing in the builder's query. One that
 *     outgrows the cap is deleted; its builder finds its nonce gone.
 *
 * Bytes 1 and 2 of a header are the format (1) and the state (1 building, 2 complete); mark at byte 17.
 */
#include "common/store/timeline_scripts.h"

#include "common/domain/entry.h"

_Static_assert(TIMELINE_FORMAT == 1 && TIMELINE_HEADER_BYTES == 24 && ENTRY_BYTES == 16, "the scripts spell these out");
_Static_assert(TIMELINE_BUILDING == 1 && TIMELINE_COMPLETE == 2, "the scripts spell these out");

/* state(header): 1 building, 2 complete, nil: no header that this version understands. */
#define LUA_STATE                                                                                                      \
    "local function state(h)\n"                                                                                        \
    "  if type(h) ~= 'string' or #h ~= 24 or string.byte(h, 1) ~= 1 then return nil end\n"                             \
    "  return string.byte(h, 2)\n"                                                                                     \
    "end\n"

/* Another format, or a key of another type, is a miss: it is replaced. */
const char TIMELINE_BEGIN_LUA[] = LUA_STATE "if state(redis.pcall('LINDEX', KEYS[1], -1)) then return 0 end\n"
                                            "redis.call('DEL', KEYS[1])\n"
                                            "redis.call('RPUSH', KEYS[1], ARGV[1])\n"
                                            "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                                            "return 1\n";

/*
 * Usually nothing was pushed meanwhile and the entries go in as they came. Otherwise what was pushed is merged: the
 * query ran after those pushes, so simply appending could put an id more than W above an earlier one behind it.
 */
const char TIMELINE_FILL_LUA[] =
    "local k = KEYS[1]\n"
    "if redis.call('LINDEX', k, -1) ~= ARGV[1] then return 0 end\n"
    "local header, cap, first, entries = ARGV[2], tonumber(ARGV[4]), 5, ARGV\n"
    "if redis.call('LLEN', k) > 1 then\n"
    "  local all, seen = {}, {}\n"
    "  local function add(e)\n"
    "    local id = string.sub(e, 1, 8)\n"
    "    if seen[id] then return end\n"
    "    seen[id] = true\n"
    "    local hi, lo = struct.unpack('>I4I4', e)\n"
    "    all[#all + 1] = {hi, lo, e}\n"
    "  end\n"
    "  local pushed = redis.call('LRANGE', k, 0, -2)\n"
    "  for i = 1, #pushed do add(pushed[i]) end\n"
    "  for i = 5, #ARGV do add(ARGV[i]) end\n"
    "  table.sort(all, function(a, b) if a[1] ~= b[1] then return a[1] > b[1] end return a[2] > b[2] end)\n"
    "  local over = all[cap + 1]\n"
    "  if over then\n"
    "    local hi, lo = struct.unpack('>I4I4', header, 17)\n"
    "    if over[1] > hi or (over[1] == hi and over[2] >= lo) then\n"
    "      hi, lo = over[1], over[2] + 1\n"
    "      if lo == 4294967296 then hi, lo = hi + 1, 0 end\n"
    "      header = string.sub(header, 1, 16) .. struct.pack('>I4I4', hi, lo)\n"
    "    end\n"
    "  end\n"
    "  first, entries = 1, {}\n"
    "  for i = 1, math.min(#all, cap) do entries[i] = all[i][3] end\n"
    "end\n"
    "redis.call('DEL', k)\n"
    "for i = first, #entries, 500 do redis.call('RPUSH', k, unpack(entries, i, math.min(i + 499, #entries))) end\n"
    "redis.call('RPUSH', k, header)\n"
    "redis.call('PEXPIRE', k, ARGV[3])\n"
    "return 1\n";

const char TIMELINE_ABANDON_LUA[] = "if redis.call('LINDEX', KEYS[1], -1) ~= ARGV[1] then return 0 end\n"
                                    "redis.call('DEL', KEYS[1])\n"
                                    "return 1\n";

/* trim(k, cap, slack): runs once in `slack` pushes of a timeline; looks only at what it drops. Returns 0 when there is
 * nothing to trim. */
#define LUA_TRIM                                                                                                       \
    "local function trim(k, cap, slack)\n"                                                                             \
    "  if redis.call('LLEN', k) <= cap + slack + 1 then return 0 end\n"                                                \
    "  local dropped = redis.call('LRANGE', k, cap, -1)\n"                                                             \
    "  local n = #dropped\n"                                                                                           \
    "  local h = dropped[n]\n"                                                                                         \
    "  if #h ~= 24 or string.byte(h, 1) ~= 1 or string.byte(h, 2) ~= 2 then\n"                                         \
    "    redis.call('DEL', k)\n"                                                                                       \
    "    return 1\n"                                                                                                   \
    "  end\n"                                                                                                          \
    "  local halves = struct.unpack\n"                                                                                 \
    "  local hi, lo = halves('>I4I4', h, 17)\n"                                                                        \
    "  for i = 1, n - 1 do\n"                                                                                          \
    "    local a, b = halves('>I4I4', dropped[i])\n"                                                                   \
    "    if a > hi or (a == hi and b >= lo) then\n"                                                                    \
    "      hi, lo = a, b + 1\n"                                                                                        \
    "      if lo == 4294967296 then hi, lo = hi + 1, 0 end\n"                                                          \
    "    end\n"                                                                                                        \
    "  end\n"                                                                                                          \
    "  redis.call('LTRIM', k, 0, cap - 1)\n"                                                                           \
    "  redis.call('RPUSH', k, string.sub(h, 1, 16) .. struct.pack('>I4I4', hi, lo))\n"                                 \
    "  return 1\n"                                                                                                     \
    "end\n"

const char TIMELINE_TRIM_LUA[] = LUA_TRIM "return trim(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))\n";

/*
 * An id below the mark is trusted by nobody and is left out. One that is met on the way is there already (a retry). The
 * scan reads ahead in growing pieces: what is late is seldom far from the head.
 */
const char TIMELINE_LATE_LUA[] = LUA_STATE LUA_TRIM
    "local k, halves = KEYS[1], struct.unpack\n"
    "local h = redis.call('LINDEX', k, -1)\n"
    "local s = state(h)\n"
    "if not s then return 0 end\n"
    "if s == 1 then\n"
    "  for i = 3, #ARGV do redis.call('LPUSH', k, ARGV[i]) end\n"
    "  trim(k, tonumber(ARGV[1]), tonumber(ARGV[2]))\n"
    "  return 1\n"
    "end\n"
    "local mark_hi, mark_lo = halves('>I4I4', h, 17)\n"
    "local function insert(e)\n"
    "  local hi, lo = halves('>I4I4', e)\n"
    "  if hi < mark_hi or (hi == mark_hi and lo < mark_lo) then return end\n"
    "  local from, step = 0, 16\n"
    "  while true do\n"
    "    local part = redis.call('LRANGE', k, from, from + step - 1)\n"
    "    for i = 1, #part do\n"
    "      local p = part[i]\n"
    "      if #p ~= 16 then return redis.call('LINSERT', k, 'BEFORE', p, e) end\n"
    "      local a, b = halves('>I4I4', p)\n"
    "      if a == hi and b == lo then return end\n"
    "      if a < hi or (a == hi and b < lo) then return redis.call('LINSERT', k, 'BEFORE', p, e) end\n"
    "    end\n"
    "    if #part < step then return end\n"
    "    from, step = from + step, math.min(step * 4, 512)\n"
    "  end\n"
    "end\n"
    "for i = 3, #ARGV do insert(ARGV[i]) end\n"
    "trim(k, tonumber(ARGV[1]), tonumber(ARGV[2]))\n"
    "return 1\n";

/* Only a complete timeline: a building one must keep its short life. */
const char TIMELINE_REFRESH_LUA[] = LUA_STATE "if state(redis.call('LINDEX', KEYS[1], -1)) ~= 2 then return 0 end\n"
                                              "return redis.call('PEXPIRE', KEYS[1], ARGV[1])\n";
