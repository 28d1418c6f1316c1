package pipeline

import (
	"errors"
	"hash/fnv"
	"strconv"
	"syscall"
	"time"

	"calrun/pipeline/state"
)

// classed is an error whose class is known where it is made.
type classed struct {
	error
	class state.Class
}

func (c classed) Unwrap() error { return c.error }

// as gives an error its class.
func as(class state.Class, err error) error {
	if err == nil {
		return nil
	}
	return classed{err, class}
}

// classOf is the class of an error. A broken disk is one wherever it is met.
func classOf(err error) state.Class {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, errno) {
			return state.ClassDisk
		}
	}
	var c classed
	if errors.As(err, &c) {
		return c.class
	}
	return state.ClassStep
}

// diskAdvice ends the sentence about a disk that does not take what is written.
const diskAdvice = "; nothing finished is lost: see to the disk, then calrun resume goes on"

// jittered is a wait of up to a quarter more, so that runs that failed at the
// same time do not come back at the same time. It depends on the attempt alone:
// who replays the run waits as long.
func (j *job) jittered(wait time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(j.e.id + " " + j.cmd.ID() + " " + strconv.Itoa(j.cmd.Attempt)))
	return wait + time.Duration(float64(wait)/4*float64(h.Sum64()>>11)/(1<<53))
}
