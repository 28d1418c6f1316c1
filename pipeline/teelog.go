package pipeline

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// teeLog writes a step's log lines to its file and passes those from info up
// to the user's logger, with the step's name. A file that cannot be written
// any more (a full disk) is said once; the step goes on without its log, and
// ends with the disk's error where it writes what it yields.
type teeLog struct {
	file io.Writer
	user zerolog.Logger
	step string
	lost *sync.Once
}

// Write is what zerolog calls for lines without a level.
func (t teeLog) Write(p []byte) (int, error) {
	if _, err := t.file.Write(p); err != nil {
		t.lost.Do(func() {
			t.user.Warn().Str("step", t.step).Err(err).Msg("the step's log is not written any more")
		})
	}
	return len(p), nil
}

// WriteLevel is what zerolog calls for all others.
func (t teeLog) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	n, err := t.Write(p)
	if level < zerolog.InfoLevel {
		return n, err
	}
	var line map[string]any
	if json.Unmarshal(p, &line) != nil {
		return n, err
	}
	msg, _ := line[zerolog.MessageFieldName].(string)
	for _, name := range []string{zerolog.MessageFieldName, zerolog.LevelFieldName, zerolog.TimestampFieldName, "stack"} {
		delete(line, name)
	}
	t.user.WithLevel(level).Str("step", t.step).Fields(line).Msg(strings.TrimSpace(msg))
	return n, err
}

var _ zerolog.LevelWriter = teeLog{}

// lazyFile is a file that is made when something is written to it: a log that
// has no line is no file.
type lazyFile struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

// Write makes the file the first time.
func (l *lazyFile) Write(p []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		if l.f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
			return 0, err
		}
	}
	return l.f.Write(p)
}

// Close closes the file if there is one.
func (l *lazyFile) Close() {
	if l.f != nil {
		_ = l.f.Close() // a log: what is missing of it is missing
	}
}
