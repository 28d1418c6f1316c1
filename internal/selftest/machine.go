package selftest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// load is the load average of the last minute, nil where the system does not
// say.
func load() *float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return nil
	}
	return &v
}

// used is how the cores have spent their time so far, in ticks, and how long
// this process has run on them.
type used struct {
	busy, all float64
	own       time.Duration
	known     bool
}

// tick is the unit of /proc/stat, USER_HZ, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func usage() used {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return used{}
	}
	u := parseUsage(string(b))
	var r syscall.Rusage
	u.known = u.known && syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil
	u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return u
}

// parseUsage reads the line of all cores: user, nice, system, idle, iowait,
// irq, softirq, steal; guests are in user already.
func parseUsage(text string) (u used) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return used{}
	}
	for i, s := range f[1:9] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return used{}
		}
		u.all += v
		if i != 3 && i != 4 {
			u.busy += v
		}
	}
	u.known = true
	return u
}

// others is the share of all cores' time since before that was spent, and not
// on this process; nil where the system does not say.
func (u used) others(before used) *float64 {
	all := u.all - before.all
	if !u.known || !before.known || all <= 0 {
		return nil
	}
	own := float64(u.own-before.own) / float64(tick)
	share := max(0, (u.busy-before.busy-own)/all)
	return &share
}
