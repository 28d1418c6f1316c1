package pipeline

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The index says what the journals say, also when it is torn, old or gone.
func TestIndexIsACache(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	b.run(wide, RunOptions{})
	index := filepath.Join(b.runner.Store.Dir(), runsDir, indexFile)
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, index, nil)
	want, err := b.runner.Store.Summaries()
	if err != nil || len(want) != 2 || want[0].Run != s.Run || want[0].Rounds != 3 || len(want[0].Keys) == 0 {
		t.Fatalf("%+v, %v", want, err)
	}
	open := want[0] // as it was while the run was worked on
	open.Closed, open.Rounds, open.Size = false, 1, open.Size-1
	broken := want[0]
	broken.Error, broken.Rounds, broken.Changed = "torn", 1, broken.Changed-1
	for name, harm := range map[string]string{
		"whole": string(data), "torn": string(data[:len(data)-9]), "torn and gone on": string(data[:40]) + string(data),
		"of another run": strings.ReplaceAll(string(data), s.Run, "20000101-000000-0000"),
		"of a byte more": strings.Replace(string(data), "small", "smalls", 1), "no index": "{{\n",
		"of a shorter journal": indexLine(open), "of a journal that could not be read then": indexLine(broken),
		"of a newer calrun": strings.ReplaceAll(string(data), "\t"+indexVersion+"\t", "\t99\t"),
	} {
		rewrite(t, index, []byte(harm))
		if got, err := b.runner.Store.Index(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v, %v", name, got, want, err)
		}
		if n := len(b.runner.Store.readIndex(2)); n != 2 {
			t.Errorf("%s: %d runs are kept for the next time", name, n)
		}
	}
}

// A journal that somebody wrote to after its run was closed is read again, and
// its breach is what the list says.
func TestAChangedJournalIsReadAgain(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	journal := filepath.Join(b.runner.Store.RunDir(s.Run), journalFile)
	text := readFile(t, journal)
	change := func(text string, at time.Time) {
		rewrite(t, journal, []byte(text))
		if err := os.Chtimes(journal, at, at); err != nil { // a clock of few ticks might not tell
			t.Fatal(err)
		}
	}
	change(strings.Replace(string(text), "small", "smaii", 1), time.Now().Add(time.Minute))
	for range 2 { // read, then from the index
		if got, err := b.runner.Store.Index(); err != nil || got[0].Verdict != "" || !strings.Contains(got[0].Error, "line 1 does not follow") {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	change(string(text), time.Now())
	if got, err := b.runner.Store.Index(); err != nil || got[0].Verdict != Pass || got[0].Error != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A line comes back as the summary it was made of, and as none once a byte of
// it is another.
func TestIndexLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\t\n\r\\n é")), 0, 8, -1)
		r := Summary{
			Run: "20260101-000000-0000", Plan: text.Draw(t, "plan"), Error: text.Draw(t, "error"),
			Verdict: rapid.SampledFrom([]Verdict{"", Pass, Fail, Inconclusive}).Draw(t, "verdict"),
			Exit:    rapid.IntRange(0, 130).Draw(t, "exit"), Rounds: rapid.IntRange(0, 9).Draw(t, "rounds"),
			Seconds: rapid.Float64Range(0, 1e9).Draw(t, "seconds"), Size: rapid.Int64Range(-1, 1e12).Draw(t, "size"),
			Changed: rapid.Int64().Draw(t, "changed"), Closed: rapid.Bool().Draw(t, "closed"),
			Interrupted: rapid.Bool().Draw(t, "interrupted"), Empty: rapid.Bool().Draw(t, "empty"),
			Keys: rapid.SliceOfN(rapid.StringMatching("[0-9a-f]{16}"), 1, 3).Draw(t, "keys"),
		}
		if rapid.Bool().Draw(t, "opened") {
			r.Opened = time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "second"), 5).UTC()
		}
		if rapid.Bool().Draw(t, "parts") {
			r.Parts = rapid.MapOfN(text, text, 1, 3).Draw(t, "of")
		}
		line := strings.TrimSuffix(indexLine(r), "\n")
		if got, ok := parseIndexLine(line); !ok || !reflect.DeepEqual(got, r) || strings.Contains(line, "\n") {
			t.Fatalf("%q came back as %+v of %+v", line, got, r)
		}
		at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
		other := line[:at] + string(line[at]^1) + line[at+1:]
		if got, ok := parseIndexLine(other); ok {
			t.Fatalf("%q is taken for %+v", other, got)
		}
	})
}
