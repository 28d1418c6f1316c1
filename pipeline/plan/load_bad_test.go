package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"calrun/pipeline/document"
)

// wanted is how a plan of the corpus says what is wrong with it: a comment on
// the faulty line, "### message, suggestion"; "### +2: ..." is two lines
// below, where no comment can stand.
var wanted = regexp.MustCompile(` ?### (?:\+([0-9]+): )?`)

var update = flag.Bool("update", false, "write what is expected anew")

// TestBadPlans loads each broken plan and compares all of its problems, line
// by line and word by word.
func TestBadPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken plans, want at least 40 (%v)", len(files), err)
	}
	kinds := fakeKinds()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			plan, problems := LoadBytes(file, src, LoadOptions{Kinds: kinds})
			if *update {
				rewrite(t, file, string(src), problems)
				return
			}
			if (plan == nil) != (problems.Err() != nil) {
				t.Errorf("plan %v beside error %v", plan != nil, problems.Err())
			}
			want, got := expected(string(src)), found(problems)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
			for _, p := range problems {
				if p.Line > 0 && !strings.Contains(p.String(), "^") && p.Snippet != "" {
					t.Errorf("no caret in %s", p)
				}
			}
		})
	}
}

func expected(src string) []string {
	var out []string
	for i, line := range strings.Split(src, "\n") {
		marks := wanted.FindAllStringSubmatchIndex(line, -1)
		for n, m := range marks {
			end := len(line)
			if n+1 < len(marks) {
				end = marks[n+1][0]
			}
			no := i + 1
			if m[2] >= 0 {
				down, _ := strconv.Atoi(line[m[2]:m[3]])
				no += down
			}
			out = append(out, fmt.Sprintf("%d: %s", no, line[m[1]:end]))
		}
	}
	sort.Strings(out)
	return out
}

func found(ps document.Problems) []string {
	var out []string
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%d: %s", p.Line, oneLine(p)))
	}
	sort.Strings(out)
	return out
}

func oneLine(p document.Problem) string {
	s := p.Message
	if p.Suggest != "" {
		s += ", " + p.Suggest
	}
	if p.Warning {
		s = "warning: " + s
	}
	return s
}

// rewrite puts what the loader says now beside the lines that it names. Read
// the diff: it is the test.
func rewrite(t *testing.T, file, src string, ps document.Problems) {
	lines := strings.Split(src, "\n")
	for i, line := range lines {
		if m := wanted.FindStringIndex(line); m != nil {
			lines[i] = line[:m[0]]
		}
	}
	for _, p := range ps {
		i, down := p.Line-1, ""
		for up := i; up >= 0 && up > i-4; up-- {
			if text := strings.TrimSpace(lines[up]); strings.HasSuffix(text, ">-") || strings.HasSuffix(text, "|") {
				down = fmt.Sprintf("+%d: ", i-up)
				i = up
				break
			}
		}
		sep := " "
		if lines[i] == "" {
			sep = ""
		}
		lines[i] += sep + "### " + down + oneLine(p)
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}
