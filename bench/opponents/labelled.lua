-- Predictions with a label for each, in lists of 100, over the same connections. The first argument is a file with one
-- body a line; the second is a file that receives, for each acknowledged list, the time (s since 1970), how many
-- predictions were answered until then, and how many labels acknowledged. Nine of ten labels agree with the answer.
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s, us; } bench_time; int gettimeofday(bench_time *, void *); ]]

local AT_ONCE = 100
local made, waiting, log, threads = {}, {}, nil, {}
local clock = ffi.new("bench_time")
local json = { ["Content-Type"] = "application/json" }
predictions, labels, refused = 0, 0, 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  math.randomseed(1)
  for body in io.lines(args[1]) do made[#made + 1] = wrk.format("POST", "/predict", json, body) end
  log = io.open(args[2], "w")
end

function request()
  if #waiting < AT_ONCE then return made[math.random(#made)] end
  local body = '{"feedback":[' .. table.concat(waiting, ",") .. "]}"
  waiting = {}
  return wrk.format("POST", "/feedback", json, body)
end

function response(status, _, body)
  if status ~= 200 then refused = refused + 1 return end
  local id = body:match('"prediction_id": ?"([^"]+)"')
  if id then
    local class = tonumber(body:match('"class_id": ?(%d+)'))
    if math.random() < 0.1 then class = (class + 1) % 3 end
    predictions = predictions + 1
    waiting[#waiting + 1] = '{"prediction_id":"' .. id .. '","actual":' .. class .. "}"
  else
    labels = labels + tonumber(body:match('"accepted": ?(%d+)') or 0)
    ffi.C.gettimeofday(clock, nil)
    log:write(string.format("%.3f %d %d\n", tonumber(clock.s) + tonumber(clock.us) / 1e6, predictions, labels))
    log:flush()
  end
end

function done(summary, latency)
  local seen = threads[1]
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f, "predictions": %d, "labels": %d, "refused": %d}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    seen:get("predictions"), seen:get("labels"), seen:get("refused")))
end
