package trace

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLatencies(t *testing.T) {
	r := Row{
		Request: Request{Due: 1 * time.Second}, Sent: 1100 * time.Millisecond,
		First: 1500 * time.Millisecond, Last: 2500 * time.Millisecond, Tokens: 11,
	}
	for name, got := range map[string][2]time.Duration{
		"TTFT counts from due":                      {r.TTFT(), 500 * time.Millisecond},
		"TTFTSent counts from sent":                 {r.TTFTSent(), 400 * time.Millisecond},
		"E2E counts from due":                       {r.E2E(), 1500 * time.Millisecond},
		"E2ESent counts from sent":                  {r.E2ESent(), 1400 * time.Millisecond},
		"Late is what lies between due and sent":    {r.Late(), 100 * time.Millisecond},
		"TPOT divides by the intervals, n − 1":      {first(r.TPOT()), 100 * time.Millisecond},
		"E2E is TTFT and n − 1 intervals of a TPOT": {r.TTFT() + 10*first(r.TPOT()), r.E2E()},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", name, got[0], got[1])
		}
	}
	for _, n := range []int{0, 1} {
		r.Tokens = n
		if tpot, ok := r.TPOT(); ok {
			t.Errorf("TPOT of %d tokens is %v, want none", n, tpot)
		}
	}
}

func first(d time.Duration, _ bool) time.Duration { return d }

func TestReadCSV(t *testing.T) {
	for _, tt := range []struct {
		why, text string
		want      []Request
		complaint string
	}{
		{
			why:  "columns in another order, others passed over, counts as dataframes write them",
			text: "x,num_decode_tokens,arrived_at,num_prefill_tokens\n,44.0,0.5,374\n,1,0.25,2\n",
			want: []Request{{ID: 0, Due: 500 * time.Millisecond, Prompt: 374, Output: 44}, {ID: 1, Due: 250 * time.Millisecond, Prompt: 2, Output: 1}},
		},
		{why: "a spreadsheet's byte order mark", text: "\ufeffarrived_at,num_prefill_tokens,num_decode_tokens\n1,2,3\n", want: []Request{{Due: time.Second, Prompt: 2, Output: 3}}},
		{
			why:  "what the prompts begin with, as text, as a list, and nothing",
			text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids,hash_block_size\n0,20,1,7 8,16\n1,16,1,\"[7]\",16\n2,5,1,,\n",
			want: []Request{
				{Prompt: 20, Output: 1, Content: &Content{16, []uint64{7, 8}}},
				{ID: 1, Due: time.Second, Prompt: 16, Output: 1, Content: &Content{16, []uint64{7}}},
				{ID: 2, Due: 2 * time.Second, Prompt: 5, Output: 1},
			},
		},
		{why: "ids of blocks of no known size", text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids\n1,2,3,4\n", complaint: "hash_ids without hash_block_size"},
		{why: "ids of blocks of nothing", text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids,hash_block_size\n1,2,3,4,0\n", complaint: `line 2: hash_block_size: "0"; a block has at least 1 token`},
		{why: "a block size of another trace", text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids,hash_block_size\n1,32,3,4 5,512\n", complaint: "line 2: hash_ids: 2 blocks of 512 tokens for a prompt of 32"},
		{why: "an id that is none", text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids,hash_block_size\n1,32,3,-4,16\n", complaint: `line 2: hash_ids: "-4" is not an id`},
		{why: "a list without its end", text: "arrived_at,num_prefill_tokens,num_decode_tokens,hash_ids,hash_block_size\n1,32,3,[4,16\n", complaint: "line 2"},
		{why: "no rows", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n"},
		{why: "an empty file", text: "", complaint: "the file is empty"},
		{why: "a missing column", text: "arrived_at,num_prefill_tokens\n1,2\n", complaint: `line 1: no column num_decode_tokens among "arrived_at,num_prefill_tokens"`},
		{why: "a short row", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n1,2,3\n1,2\n", complaint: "line 3: 2 fields, the first line has 3"},
		{why: "text for a count", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n1,abc,3\n", complaint: `line 2: num_prefill_tokens: "abc" is not a number`},
		{why: "half a token", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n1,2,3.5\n", complaint: `line 2: num_decode_tokens: "3.5" is not a count of tokens`},
		{why: "a negative count", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n1,-2,3\n", complaint: `"-2" is not a count of tokens`},
		{why: "a negative time", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n-1,2,3\n", complaint: `arrived_at: "-1" is not a time`},
		{why: "not a number", text: "arrived_at,num_prefill_tokens,num_decode_tokens\nNaN,2,3\n", complaint: `arrived_at: "NaN" is not a time`},
		{why: "a time beyond what a duration holds", text: "arrived_at,num_prefill_tokens,num_decode_tokens\n1e12,2,3\n", complaint: `"1e12" is not a time`},
	} {
		path := filepath.Join(t.TempDir(), "t.csv")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadCSV(path)
		switch {
		case tt.complaint == "" && (err != nil || !reflect.DeepEqual(got, tt.want)):
			t.Errorf("%s: %v, %v, want %v", tt.why, got, err, tt.want)
		case tt.complaint != "" && (err == nil || !strings.Contains(err.Error(), tt.complaint) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: error %v, want the path and %q", tt.why, err, tt.complaint)
		}
	}
}

// What is written comes back to the nanosecond, whatever it is.
func TestPointsComeBack(t *testing.T) {
	times := rapid.Int64Range(0, int64(30*24*time.Hour))
	rapid.Check(t, func(rt *rapid.T) {
		at := func(name string) time.Duration { return time.Duration(times.Draw(rt, name)) }
		run := Run{Seed: rapid.IntRange(1, 9).Draw(rt, "seed"), State: Overloaded, Reason: "because <it> did", Window: at("window"), Rows: []Row{}}
		for i := range rapid.IntRange(0, 5).Draw(rt, "n") {
			req := Request{ID: i, Due: at("due"), Prompt: rapid.IntRange(0, 1e6).Draw(rt, "prompt"), Output: rapid.IntRange(0, 1e6).Draw(rt, "output")}
			run.Requests = append(run.Requests, req)
			run.Rows = append(run.Rows, Row{
				Request: req, Sent: at("sent"), First: at("first"), Last: at("last"), Prompted: 3, Tokens: 7, FirstTokens: 2, Cached: 1,
				Estimated: rapid.Bool().Draw(rt, "estimated"), Status: 200, Error: rapid.String().Draw(rt, "error"),
			})
		}
		asked := run
		asked.Rows, asked.State, asked.Reason, asked.Window = nil, "", "", 0
		points := []Point{{Name: "rps-0.5", Group: Sweep, Rate: 0.5, Runs: []Run{run}}, {Name: "replay", Group: Replay, Runs: []Run{asked}}}
		root, err := os.MkdirTemp(t.TempDir(), "points")
		if err != nil {
			rt.Fatal(err)
		}
		if err := WritePoints(root, points); err != nil {
			rt.Fatal(err)
		}
		got, err := ReadPoints(root)
		if err != nil || !reflect.DeepEqual(got, points) {
			rt.Fatalf("%+v, %v, want %+v", got, err, points)
		}
	})
}

func TestReadRowsSaysWhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	if err := WriteRows(path, []Row{{}, {}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for why, text := range map[string]string{
		"a torn line":      string(data[:len(data)-20]),
		"an unknown field": string(data[:len(data)/2]) + `{"id":1,"duue_s":2}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRows(path); err == nil || !strings.Contains(err.Error(), path+": line 2: ") {
			t.Errorf("%s: %v, want the file and line 2", why, err)
		}
	}
}
