package process

import (
	"context"
	"os"
)

// Lease ties what is started to what it is started for, so that whoever does
// that again after a death finds what is left of it.
type Lease interface {
	// Hold is told before the child is there who ends what is left of it if
	// calrun dies: the process of a guard, or 0 for nobody. It returns what is
	// to be called when the child's group has ended.
	Hold(guard int) (release func(well bool), err error)
	Env() string       // a variable for the child's environment, or empty
	Files() []*os.File // open files that the child inherits
}

type leaseKey struct{}

// WithLease returns a context under which every child is started with the
// lease.
func WithLease(ctx context.Context, l Lease) context.Context {
	return context.WithValue(ctx, leaseKey{}, l)
}

// mark is the variable that the lease's processes carry, or empty.
func mark(l Lease) string {
	if l == nil {
		return ""
	}
	return l.Env()
}

// leased gives the child what the context's lease lends.
func (p *Process) leased(ctx context.Context) Lease {
	l, _ := ctx.Value(leaseKey{}).(Lease)
	if l == nil {
		return nil
	}
	p.cmd.ExtraFiles = l.Files()
	if env := mark(l); env != "" {
		if p.cmd.Env == nil {
			p.cmd.Env = os.Environ()
		}
		p.cmd.Env = append(p.cmd.Env[:len(p.cmd.Env):len(p.cmd.Env)], env)
	}
	return l
}
