package pipeline

import (
	"bufio"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// indexFile keeps the summaries of runs, in the folder of the runs. It is a
// cache: a line counts while it is whole and the run's journal has the size and
// the time that it had; without the file everything is read again.
//
// A line is a checksum (CRC-32, Castagnoli, eight hexadecimal digits) of the
// rest, and fields between tabs, in the order of indexLine. It is not JSON,
// since 10,000 lines of that take longer to read than all else that a history
// does.
const indexFile = "index"

// indexFields is how many fields a line has before its parts, the version of
// the line among them: lines of another calrun are passed over.
const (
	indexFields  = 14
	indexVersion = "1"
)

// castagnoli is the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Text in a line has no tab and no end of line.
var (
	indexEscape   = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")
	indexUnescape = strings.NewReplacer("\\\\", "\\", "\\t", "\t", "\\n", "\n", "\\r", "\r")
)

// indexLine is a summary as the index has it.
func indexLine(r Summary) string {
	opened := ""
	if !r.Opened.IsZero() {
		opened = strconv.FormatInt(r.Opened.UnixNano(), 10)
	}
	fields := []string{
		indexVersion, r.Run, r.Plan, string(r.Verdict), strconv.Itoa(r.Exit), strconv.Itoa(r.Rounds), opened,
		strconv.FormatFloat(r.Seconds, 'g', -1, 64), indexFlags(r), r.Error,
		strconv.FormatInt(r.Size, 10), strconv.FormatInt(r.Changed, 10), strings.Join(r.Keys, " "), strconv.Itoa(len(r.Parts)),
	}
	for _, id := range slices.Sorted(maps.Keys(r.Parts)) {
		fields = append(fields, id, r.Parts[id])
	}
	for i, f := range fields {
		fields[i] = indexEscape.Replace(f)
	}
	rest := strings.Join(fields, "\t")
	sum := strconv.FormatUint(uint64(crc32.Checksum([]byte(rest), castagnoli)), 16)
	return strings.Repeat("0", 8-len(sum)) + sum + "\t" + rest + "\n"
}

func indexFlags(r Summary) string {
	flags := ""
	for _, f := range []struct {
		letter string
		set    bool
	}{{"c", r.Closed}, {"i", r.Interrupted}, {"e", r.Empty}} {
		if f.set {
			flags += f.letter
		}
	}
	return flags
}

// parseIndexLine is the way back; false for a line that is not whole, or of
// another version.
func parseIndexLine(line string) (r Summary, ok bool) {
	sum, rest, _ := strings.Cut(line, "\t")
	want, err := strconv.ParseUint(sum, 16, 32)
	if err != nil || crc32.Checksum([]byte(rest), castagnoli) != uint32(want) || !strings.HasPrefix(rest, indexVersion+"\t") {
		return r, false
	}
	var f [indexFields]string
	for i := range f {
		field, after, more := strings.Cut(rest, "\t")
		if !more && i < indexFields-1 {
			return r, false
		}
		if f[i], rest = field, after; strings.IndexByte(field, '\\') >= 0 {
			f[i] = indexUnescape.Replace(field)
		}
	}
	ok = true
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		ok = ok && err == nil
		return n
	}
	r = Summary{
		Run: f[1], Plan: f[2], Verdict: Verdict(f[3]), Exit: int(number(f[4])), Rounds: int(number(f[5])),
		Closed: strings.Contains(f[8], "c"), Interrupted: strings.Contains(f[8], "i"), Empty: strings.Contains(f[8], "e"),
		Error: f[9], Size: number(f[10]), Changed: number(f[11]),
	}
	if f[6] != "" {
		r.Opened = time.Unix(0, number(f[6])).UTC()
	}
	if r.Seconds, err = strconv.ParseFloat(f[7], 64); err != nil {
		return r, false
	}
	if f[12] != "" {
		r.Keys = strings.Split(f[12], " ")
	}
	if n := number(f[13]); n > 0 {
		parts := strings.Split(rest, "\t")
		if int64(len(parts)) != 2*n {
			return r, false
		}
		r.Parts = make(map[string]string, n)
		for i := 0; i < len(parts); i += 2 {
			r.Parts[indexUnescape.Replace(parts[i])] = indexUnescape.Replace(parts[i+1])
		}
	}
	return r, ok
}

// readIndex reads what the index says, run by run; the last line of a run
// counts. What cannot be read is not known.
func (s *Store) readIndex(runs int) map[string]Summary {
	known := make(map[string]Summary, runs)
	data, err := os.ReadFile(filepath.Join(s.dir, runsDir, indexFile))
	if err != nil {
		return known
	}
	for line := range strings.Lines(string(data)) {
		if r, ok := parseIndexLine(strings.TrimSuffix(line, "\n")); ok {
			known[r.Run] = r
		}
	}
	return known
}

// keepIndex writes the index anew.
func (s *Store) keepIndex(all []Summary) error {
	dir := filepath.Join(s.dir, runsDir)
	f, err := os.CreateTemp(dir, ".index-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once it has its name
	w := bufio.NewWriter(f)
	for _, r := range all {
		_, _ = w.WriteString(indexLine(r)) // Flush has its error
	}
	if err := errors.Join(w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, indexFile))
}

// remember adds a run to the index, which is a cache: what cannot be added
// costs the next reader time, and nothing else. The line begins anew, lest it
// be joined to one that a death left torn.
func (s *Store) remember(r Summary) {
	r.Size, r.Changed = journalIs(unix.AT_FDCWD, s.RunDir(r.Run))
	f, err := os.OpenFile(filepath.Join(s.dir, runsDir, indexFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	_, _ = f.WriteString("\n" + indexLine(r))
	_ = f.Close()
}
