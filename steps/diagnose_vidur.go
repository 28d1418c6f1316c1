package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"calrun/internal/trace"
	"calrun/pipeline"
)

// likeVidur asks the twin of Vidur in place of it: a diagnosis makes hundreds
// of simulations. As it is, it says what Vidur said.
func (s *Diagnose) likeVidur(ctx context.Context, rt *pipeline.Runtime, c *diagnosis) error {
	v, err := openVidur(ctx, rt, s.Vidur, s.Profiles.Path, s.Deployment, c.facts)
	if err != nil {
		return err
	}
	most := longest(c.asked)
	said, err := s.said(ctx, v, c.asked, most)
	if err != nil {
		return err
	}
	for _, p := range said {
		if crashed(p) {
			c.notes = append(c.notes, p.Name+": Vidur could not simulate it; the point is left out")
			c.measured = slices.DeleteFunc(c.measured, func(m trace.Point) bool { return m.Name == p.Name })
		}
	}
	said = slices.DeleteFunc(said, crashed)
	if len(said) == 0 {
		return errors.New("no point could be simulated by Vidur: there is no error to explain")
	}
	t := &twin{start: s.Params, near: v.near(most)}
	if err := t.learn(ctx, nil, said); err != nil {
		return fmt.Errorf("the embedded simulator as Vidur schedules: %w", err)
	}
	c.sim = t.whatIf
	return nil
}

// said is what Vidur says of the points.
func (s *Diagnose) said(ctx context.Context, v *vidurReady, points []trace.Point, most int) ([]trace.Point, error) {
	if s.Simulated.Path != "" {
		return trace.ReadPoints(s.Simulated.Path)
	}
	out, err := v.simulate(ctx, points, s.Params, most, v.rt.Progress)
	if err != nil {
		return nil, err
	}
	return out.points, nil
}
