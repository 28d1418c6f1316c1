package state

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever happens, in whatever order, what an agenda hands out and what is
// being carried out are together what Decide says: nothing is forgotten,
// nothing done twice, nothing done that Decide would not do.
func TestAgendaIsDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := loop(t)
		w := &world{t: t, plan: p, state: &State{}}
		w.append(Event{Type: EventOpened, Opened: &Opened{Run: "x", Plan: "loop"}})
		w.agenda = NewAgenda(p, w.state)
		flying := map[string]Command{}
		for turns := 0; w.state.Closed.IsZero(); turns++ {
			if turns > 500 {
				t.Fatalf("not closed after %d events: %+v", len(w.events), w.state)
			}
			decided := map[string]Command{}
			for _, c := range Decide(p, w.state) {
				decided[c.ID()] = c
			}
			room := rapid.IntRange(0, 3).Draw(t, "room")
			if len(flying) == 0 {
				room++
			}
			quiet := rapid.Bool().Draw(t, "measuring") && len(flying) > 0
			for range room {
				c, ok := w.agenda.Take(func(c Command) bool { return !quiet || c.Op != OpStart })
				if !ok {
					break
				}
				want, said := decided[c.ID()]
				if !said || want.Attempt != c.Attempt || want.Why != c.Why {
					t.Fatalf("the agenda says %+v, Decide %+v", c, decided)
				}
				if _, twice := flying[c.ID()]; twice {
					t.Fatalf("%+v is handed out twice", c)
				}
				flying[c.ID()] = c
			}
			if room > 0 && len(flying) == 0 {
				t.Fatalf("nothing is handed out, Decide says %+v", decided)
			}
			if !quiet && room > len(decided) && len(flying) != len(decided) {
				t.Fatalf("handed out %v of %v", slices.Sorted(maps.Keys(flying)), slices.Sorted(maps.Keys(decided)))
			}
			if len(flying) == 0 {
				continue
			}
			c := flying[rapid.SampledFrom(slices.Sorted(maps.Keys(flying))).Draw(t, "ends")]
			if !w.chance("nothing came of it", 10) {
				w.carryOut(c)
			}
			delete(flying, c.ID())
			w.agenda.End(c)
			if w.chance("death", 30) && w.state.Closed.IsZero() {
				w.append(Event{Type: EventResumed})
				w.agenda = NewAgenda(p, w.state)
				clear(flying)
			}
		}
		ended(t, p, w.state)
	})
}
