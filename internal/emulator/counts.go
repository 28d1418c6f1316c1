package emulator

import (
	"strconv"
	"time"

	"calrun/internal/simulator"
)

// counts are what /metrics tells, under the engine's lock. The law
// iteration tokens = prompt tokens + generated tokens holds at any moment, as
// it does in vLLM.
type counts struct {
	steps, iteration   int // engine steps, tokens counted in them
	prompts, generated int // tokens
	queried, cached    int // prompt tokens looked up in the prefix cache, and found
	finished           int
	preemptions        int
	running, waiting   int
	blocks             int
	ttft, e2e          sum // from receipt
	queue, prefill     sum
	decode             sum
	gaps               sum // between consecutive tokens
	tpot               sum // decode time / (n − 1), for n > 1
	promptLens         sum
	outputLens         sum
}

// sum is a histogram without its buckets.
type sum struct {
	n     int
	total float64
}

func (s *sum) add(v float64) {
	s.n++
	s.total += v
}

func (s *sum) span(d time.Duration) { s.add(d.Seconds()) }

// gauge notes how full the engine is.
func (l *loop) gauge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.gauge(l.sched)
}

func (c *counts) gauge(s *simulator.Scheduler) {
	c.running, c.waiting = s.Running(), s.Waiting()
	c.blocks, _ = s.Blocks()
	c.preemptions = s.Preemptions()
}

// count notes a step that is over. It is called before the requests are told,
// so that a client that has read its last token finds it counted.
func (l *loop) count(first, last []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counts
	c.gauge(l.sched)
	c.steps++
	c.generated += len(l.yields)
	c.iteration += len(l.yields)
	for _, id := range first {
		r := l.live[id]
		c.prompts += r.prompt
		if l.cfg.PrefixCache {
			c.queried += r.prompt
			c.cached += r.cached
		}
		c.iteration += r.prompt
		c.ttft.span(l.at - r.recv)
		c.queue.span(r.began - r.recv)
		c.prefill.span(l.at - r.began)
	}
	for _, id := range last {
		r := l.live[id]
		began := r.first
		if r.produced.Load() == 0 {
			began = l.at // its only token
		}
		decode := l.at - began
		c.finished++
		c.e2e.span(l.at - r.recv)
		c.decode.span(decode)
		c.promptLens.add(float64(r.prompt))
		c.outputLens.add(float64(r.output))
		if r.output > 1 {
			c.tpot.span(decode / time.Duration(r.output-1))
			c.gaps.n += r.output - 1
			c.gaps.total += decode.Seconds()
		}
	}
}

// metrics is the text of /metrics, in Prometheus' format 0.0.4 and vLLM's
// names. Histograms have their sum and count and a single bucket.
func (e *Engine) metrics() []byte {
	e.mu.Lock()
	c := e.counts
	e.mu.Unlock()
	t := &text{labels: `engine="0",model_name=` + strconv.Quote(e.cfg.Model)}
	n := func(v int) float64 { return float64(v) }
	t.gauge("num_requests_running", "Number of requests in model execution batches.", n(c.running))
	t.gauge("num_requests_waiting", "Number of requests waiting to be processed.", n(c.waiting))
	t.gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", n(c.blocks)/n(e.cfg.KVBlocks-1))
	t.counter("num_preemptions", "Cumulative number of preemption from the engine.", n(c.preemptions))
	t.counter("prompt_tokens", "Number of prefill tokens processed.", n(c.prompts))
	t.counter("prompt_tokens_cached", "Number of cached prompt tokens.", n(c.cached))
	t.counter("generation_tokens", "Number of generation tokens processed.", n(c.generated))
	t.counter("prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens.", n(c.queried))
	t.counter("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", n(c.cached))
	t.head("request_success_total", "Count of successfully processed requests.", "counter")
	for _, reason := range []string{"stop", "length", "abort", "error"} {
		v := 0.0
		if reason == "length" {
			v = n(c.finished)
		}
		t.line("request_success_total", `finished_reason="`+reason+`"`, v)
	}
	for _, h := range []struct {
		name, help string
		s          sum
	}{
		{"iteration_tokens_total", "Histogram of number of tokens per engine_step.", sum{c.steps, n(c.iteration)}},
		{"request_prompt_tokens", "Number of prefill tokens processed.", c.promptLens},
		{"request_generation_tokens", "Number of generation tokens processed.", c.outputLens},
		{"time_to_first_token_seconds", "Histogram of time to first token in seconds.", c.ttft},
		{"inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", c.gaps},
		{"request_time_per_output_token_seconds", "Histogram of time_per_output_token_seconds per request.", c.tpot},
		{"e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", c.e2e},
		{"request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", c.queue},
		{"request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", c.prefill},
		{"request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", c.decode},
	} {
		t.head(h.name, h.help, "histogram")
		t.line(h.name+"_bucket", `le="+Inf"`, n(h.s.n))
		t.line(h.name+"_count", "", n(h.s.n))
		t.line(h.name+"_sum", "", h.s.total)
	}
	t.head("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge")
	t.line("cache_config_info", `block_size="`+strconv.Itoa(e.cfg.BlockSize)+`",cache_dtype="auto",enable_prefix_caching="`+pythonBool(e.cfg.PrefixCache)+`",gpu_memory_utilization="None",num_gpu_blocks="`+strconv.Itoa(e.cfg.KVBlocks)+`"`, 1)
	return t.b
}

// pythonBool is how vLLM prints it there.
func pythonBool(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

// text is a metrics page being written.
type text struct {
	b      []byte
	labels string
}

func (t *text) head(name, help, kind string) {
	t.b = append(t.b, "# HELP vllm:"+name+" "+help+"\n# TYPE vllm:"+name+" "+kind+"\n"...)
}

func (t *text) line(name, labels string, v float64) {
	if labels != "" {
		labels = "," + labels
	}
	t.b = append(t.b, "vllm:"+name+"{"+t.labels+labels+"} "...)
	t.b = strconv.AppendFloat(t.b, v, 'g', -1, 64)
	t.b = append(t.b, '\n')
}

func (t *text) gauge(name, help string, v float64) {
	t.head(name, help, "gauge")
	t.line(name, "", v)
}

// counter writes a counter under its name with _total, as vLLM does.
func (t *text) counter(name, help string, v float64) {
	t.head(name+"_total", help, "counter")
	t.line(name+"_total", "", v)
}
