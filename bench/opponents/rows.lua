-- Random requests: the arguments are a path and a file with one body a line. Requests are made before the measurement,
-- and each is one of them at random, so that the load generator does next to nothing while it measures. With a third
-- argument each connection waits before each request, so many milliseconds on average.
local made = {}

function init(args)
  math.randomseed(1)
  if args[3] then
    local longest = 2 * tonumber(args[3])
    function delay() return math.random(0, longest) end
  end
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(args[2]) do made[#made + 1] = wrk.format("POST", args[1], headers, body) end
end

function request()
  return made[math.random(#made)]
end

function done(summary, latency, requests)
  io.write(string.format('{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
