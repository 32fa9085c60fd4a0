-- One outcome per request, each for another prediction; the first argument is the file of prediction ids.
local ids, at = {}, 0

function init(args)
  for id in io.lines(args[1]) do ids[#ids + 1] = id end
end

function request()
  at = at % #ids + 1
  return wrk.format("POST", "/feedback", { ["Content-Type"] = "application/json" },
    string.format('{"prediction_id": "%s", "actual": %d}', ids[at], at % 3))
end

function done(summary, latency, requests)
  io.write(string.format('{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
