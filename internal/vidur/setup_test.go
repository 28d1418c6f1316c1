package vidur

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"calrun/internal/profile"
)

func TestReach(t *testing.T) {
	for _, c := range []struct {
		why            string
		longest, chunk int
		tokens, limit  int
	}{
		{"requests decide", 4097, 512, 5120, 512},
		{"batches decide", 300, 8192, 8192, 8192},
		{"chunks are rounded to the table's step", 300, 500, 1024, 512},
	} {
		s := recorded(Sarathi)
		s.MaxTokens = c.chunk
		s.Reach(c.longest)
		if s.Limits.Tokens != c.tokens || s.Limits.Chunk != c.limit || s.Longest < c.longest || s.Longest%tableStep != 0 {
			t.Errorf("%s: %d and %+v", c.why, s.Longest, s.Limits)
		}
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Setup)
		says   string
	}{
		{"a scheduler that Vidur would replace silently", func(s *Setup) { s.Scheduler = "vllm_v1" }, "without a word"},
		{"a knob that Vidur has not", func(s *Setup) { s.Scale.PerSequence = time.Millisecond }, "no place in Vidur's tables"},
		{"tables shorter than a batch", func(s *Setup) { s.Limits.Tokens = 100 }, "tables reach"},
		{"no margin left", func(s *Setup) { s.Margin = 1 }, "shares"},
		{"no card", func(s *Setup) { s.Device = "" }, "needs all three"},
		{"no tokens", func(s *Setup) { s.MaxTokens = 0 }, "counts"},
		{"time that runs backwards", func(s *Setup) { s.Scale.Overhead = -1 }, "below 0"},
		{"a negative factor", func(s *Setup) { s.Scale.MLP = -1 }, "factor"},
	} {
		s := recorded(Sarathi)
		c.change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// The flags of the repository's dialect, by its source at 7d47513; it runs
// from a checkout, not in tests.
func TestCommandLineOfTheRepository(t *testing.T) {
	s := recorded(Sarathi)
	s.Blocks, s.Scale.Overhead = 700, 3*time.Millisecond
	got := CommandLine(s.Args(Repository, Paths{Trace: "trace.csv", Output: "out", Cache: "cache", Sheets: "profile"}))
	want := strings.Join([]string{
		"--seed 42 --replica_config_model_name meta-llama/Llama-2-7b-hf --replica_config_device a100 --replica_config_network_device a100_dgx",
		"--replica_config_tensor_parallel_size 1 --replica_config_num_pipeline_stages 1 --replica_config_memory_margin_fraction 0.1",
		"--request_generator_config_type trace_replay --trace_request_generator_config_prefill_scale_factor 1 --trace_request_generator_config_decode_scale_factor 1",
		"--trace_request_generator_config_time_scale_factor 1 --trace_request_generator_config_max_tokens 4096 --execution_time_predictor_config_type random_forrest",
		"--random_forrest_execution_time_predictor_config_compute_input_file profile/mlp.csv --random_forrest_execution_time_predictor_config_attention_input_file profile/attention.csv",
		"--random_forrest_execution_time_predictor_config_all_reduce_input_file profile/all_reduce.csv --random_forrest_execution_time_predictor_config_cpu_overhead_input_file profile/cpu_overheads.csv",
		"--no-random_forrest_execution_time_predictor_config_skip_cpu_overhead_modeling",
		"--random_forrest_execution_time_predictor_config_prediction_max_tokens_per_request 4096 --random_forrest_execution_time_predictor_config_prediction_max_prefill_chunk_size 4096",
		"--random_forrest_execution_time_predictor_config_prediction_max_batch_size 128 --random_forrest_execution_time_predictor_config_kv_cache_prediction_granularity 64",
		"--random_forrest_execution_time_predictor_config_num_estimators 100 --random_forrest_execution_time_predictor_config_max_depth 16 --random_forrest_execution_time_predictor_config_min_samples_split 2",
		"--random_forrest_execution_time_predictor_config_k_fold_cv_splits 2 --random_forrest_execution_time_predictor_config_num_training_job_threads 1",
		"--no-metrics_config_store_plots --no-metrics_config_enable_chrome_trace --metrics_config_cache_dir cache --metrics_config_output_dir out",
		"--trace_request_generator_config_trace_file trace.csv --replica_scheduler_config_type sarathi --sarathi_scheduler_config_batch_size_cap 128 --sarathi_scheduler_config_chunk_size 512",
		"--sarathi_scheduler_config_block_size 16 --sarathi_scheduler_config_watermark_blocks_fraction 0.01 --sarathi_scheduler_config_num_blocks 700 --metrics_config_keep_individual_batch_metrics",
	}, " ")
	if got != want {
		t.Errorf("the command line is\n%s\nwant\n%s", got, want)
	}
}

func TestDialects(t *testing.T) {
	for help, want := range map[string]Dialect{
		"--random_forrest_execution_time_predictor_config_model_profiling_dataset X": Registry,
		"--random_forrest_execution_time_predictor_config_compute_input_file X":      Repository,
		"usage: main.py": "",
	} {
		if got, err := DialectOf(help); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", help, got, err)
		}
	}
	for _, c := range []struct {
		d          Dialect
		name, want string
	}{
		{Registry, "meta-llama/Meta-Llama-3-70B", "meta-llama/Llama-3-70B"},
		{Repository, "Llama-3-70B", "meta-llama/Meta-Llama-3-70B"},
		{Registry, "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3-8B"}, // the same dimensions, which is all that Vidur knows
		{Registry, "gpt-2", ""},
	} {
		if got, err := c.d.Model(c.name); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %s is %q, %v", c.d, c.name, got, err)
		}
	}
	for _, c := range []struct{ card, hint, name, node string }{
		{"NVIDIA A100-SXM4-80GB", "", "a100", "a100_dgx"},
		{"a800", "a100_pairwise_nvlink", "a100", "a100_pairwise_nvlink"},
		{"H100", "somewhere", "h100", "h100_dgx"},
		{"RTX4090", "", "", ""},
	} {
		if name, node, err := Registry.Device(c.card, c.hint); name != c.name || node != c.node || (err == nil) != (c.name != "") {
			t.Errorf("%s is %q in %q, %v", c.card, name, node, err)
		}
	}
	if _, ok := profile.Known("meta-llama/Llama-2-7b-hf"); !ok {
		t.Error("the profile package does not know Vidur's first model")
	}
}

func TestInterpretersThatWillNotDo(t *testing.T) {
	ctx := context.Background()
	script := func(dir, name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ why, exe, says string }{
		{"there is no such file", filepath.Join(t.TempDir(), "python"), "no such program"},
		{"it has no Vidur", script(t.TempDir(), "python", "echo no vidur >&2; exit 1"), "no vidur; install vidur==0.0.26 there"},
		{"it is no Python", script(t.TempDir(), "python", "echo hello"), "does not answer as a Python does"},
	} {
		if _, err := Probe(ctx, c.exe); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}

	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := FindManaged(ctx, t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("no Python: %v", err)
	}
	script(dir, "python3", "echo 3.9.1")
	if _, err := FindManaged(ctx, t.TempDir()); err == nil || !strings.Contains(err.Error(), "python3 is 3.9.1") {
		t.Errorf("an old Python: %v", err)
	}
}

// A pip that cannot reach its index must say what to do, and leave nothing
// that the next run takes for an installation.
func TestInstallWithoutNetwork(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	python := `#!/bin/sh
case "$2" in
import*) echo 3.12.4 ;;
venv) /bin/mkdir -p "$3/bin" && /bin/cp "$0" "$3/bin/python" ;;
pip) echo "ERROR: No matching distribution found for ddsketch" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(python), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	m, err := FindManaged(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if m.Python.Dialect != Registry || m.Python.Version != "0.0.26" || m.Python.Release != "3.12" {
		t.Errorf("the installation would be %s", m.Python)
	}
	for range 2 {
		err := m.Install(ctx, &strings.Builder{})
		if err == nil || !strings.Contains(err.Error(), "pip cannot fetch the packages") || !strings.Contains(err.Error(), "No matching distribution found for ddsketch") || !strings.Contains(err.Error(), "vidur.python") {
			t.Errorf("without a network: %v", err)
		}
	}
}
