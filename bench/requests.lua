-- For wrk: sends the requests of a file, each thread its share of them, over and over; prints what
-- came of it as JSON. A line of the file is METHOD PATH [BODY].
--
-- Usage: wrk … -s bench/requests.lua URL -- FILE THREADS

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  local file, shares = arguments[1], tonumber(arguments[2])
  prepared, at = {}, 0
  local line_number = 0
  for line in io.lines(file) do
    if line_number % shares == number then
      if wrk.headers["X-Forwarded-For"] then  -- nginx limits the requests of each address
        wrk.headers["X-Forwarded-For"] = "10.0.0." .. line_number % 100
      end
      local method, path, body = line:match("^(%S+) (%S+) ?(.*)$")
      prepared[#prepared + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
    end
    line_number = line_number + 1
  end
end

function request()
  at = at % #prepared + 1
  return prepared[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
