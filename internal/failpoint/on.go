//go:build failpoints

package failpoint

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Built says whether the places are in this binary.
const Built = true

// At is a place to be killed at.
func At(name string) {
	if err := Err(name); err != nil {
		panic("failpoint " + name + " can kill and not fail: " + err.Error())
	}
}

// Err is a place to be killed at or to fail.
func Err(name string) error {
	if !order().due(name) {
		return nil
	}
	return order().act()
}

// Write writes data; at this place half of it may be all that is written.
func Write(name string, w io.Writer, data []byte) (int, error) {
	if !order().due(name) {
		return w.Write(data)
	}
	n, err := w.Write(data[:len(data)/2])
	if err != nil {
		return n, err
	}
	return n, order().act()
}

// orders are what CALRUN_FAIL says, and what was reached.
type orders struct {
	name string
	nth  int
	errn syscall.Errno // 0 kills

	mu   sync.Mutex
	met  int
	seen map[string]bool
	file *os.File
}

var order = sync.OnceValue(func() *orders {
	o, err := read(os.Getenv("CALRUN_FAIL"))
	if err == nil && os.Getenv("CALRUN_FAIL_SEEN") != "" {
		o.file, err = os.OpenFile(os.Getenv("CALRUN_FAIL_SEEN"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	}
	if err != nil {
		panic(err)
	}
	return o
})

// read reads CALRUN_FAIL.
func read(text string) (*orders, error) {
	o := &orders{nth: 1, seen: map[string]bool{}}
	name, act, _ := strings.Cut(text, "=")
	switch act {
	case "", "kill":
	case "enospc":
		o.errn = syscall.ENOSPC
	case "eio":
		o.errn = syscall.EIO
	default:
		return nil, fmt.Errorf("CALRUN_FAIL=%s: %q is neither kill, enospc nor eio", text, act)
	}
	var nth string
	var counted bool
	if o.name, nth, counted = strings.Cut(name, ":"); counted {
		var err error
		if o.nth, err = strconv.Atoi(nth); err != nil || o.nth < 1 {
			return nil, fmt.Errorf("CALRUN_FAIL=%s: %q is not a count from 1", text, nth)
		}
	}
	return o, nil
}

// due says whether it is time to act, and takes down what is reached.
func (o *orders) due(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil && !o.seen[name] {
		o.seen[name] = true
		fmt.Fprintln(o.file, name)
	}
	if name != o.name {
		return false
	}
	o.met++
	return o.met == o.nth
}

func (o *orders) act() error {
	if o.errn != 0 {
		return o.errn
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
