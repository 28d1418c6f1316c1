package loadgen

import (
	"runtime"
	"syscall"
	"time"
)

// meter reads the CPU time of this process.
type meter struct {
	began time.Time
	cpu   time.Duration
}

func startMeter() meter { return meter{time.Now(), cpuTime()} }

func (m meter) share() float64 {
	wall := time.Since(m.began) * time.Duration(runtime.GOMAXPROCS(0))
	if wall <= 0 {
		return 0
	}
	return float64(cpuTime()-m.cpu) / float64(wall)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
