-- Random rows within the ranges of Iris, prepared before the measurement; each request picks one at random.
local bodies, count = {}, 4096

function init(args)
  math.randomseed(tonumber(args[1]) or 1)
  for i = 1, count do
    bodies[i] = string.format('{"features": [%.1f, %.1f, %.1f, %.1f]}',
      4.3 + 3.6 * math.random(), 2.0 + 2.4 * math.random(), 1.0 + 5.9 * math.random(), 0.1 + 2.4 * math.random())
  end
end

function request()
  return wrk.format("POST", "/predict", { ["Content-Type"] = "application/json" }, bodies[math.random(count)])
end

function done(summary, latency, requests)
  io.write(string.format('{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
