package engine

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Waited is how long something on this machine has been ready to run and had
// no core, since the machine started: the total of the line "some" of Linux's
// pressure stall information. Several that wait at a time count once. ok is
// false where the kernel does not say.
func Waited() (d time.Duration, ok bool) {
	b, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0, false
	}
	return waited(string(b))
}

func waited(text string) (d time.Duration, ok bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "some" {
			continue
		}
		for _, pair := range f[1:] {
			if v, found := strings.CutPrefix(pair, "total="); found {
				us, err := strconv.ParseInt(v, 10, 64)
				return time.Duration(us) * time.Microsecond, err == nil
			}
		}
	}
	return 0, false
}

// Here says that the engine's address is one of this machine's own, so that
// the engine and calrun may take cores from each other. A tunnel looks the
// same.
func (e *Engine) Here() bool {
	u, err := url.Parse(e.URL)
	return err == nil && here(u.Hostname())
}

func here(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
