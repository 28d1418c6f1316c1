package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// whyVerb says why a step ran or was reused.
func (a *app) whyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "why RUN STEP",
		Short: "Say why a step ran or was reused: which ingredient changed",
		Long: `Say, round by round, why a step of a run ran or was reused. A result is used again
where the key is the same: the kind and its version, the fields of with (defaults
filled in, locations left out, files and folders by their content) and what the
step says it depends on beside them. Where the key differs, every ingredient is
named with its value in the run that could have been reused, and its value now;
of a file or folder also what changed inside.`,
		Example: "  calrun why latest sim\n  calrun why 20261124-0930 sim --json | jq '.rounds[0].changed'",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, given []string) error {
			store, id, err := a.find(given)
			if err != nil {
				return err
			}
			why, err := store.Why(id, given[1])
			if errors.Is(err, pipeline.ErrNoStep) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.print(struct {
					Calrun string `json:"calrun"`
					*pipeline.Why
				}{"v1", why})
			}
			return a.explain(why)
		},
	}
}

func (a *app) explain(why *pipeline.Why) error {
	fmt.Fprintf(a.Out, "%s in run %s of %s\n", why.Step, why.Run, why.Plan)
	for _, r := range why.Rounds {
		fmt.Fprintf(a.Out, "\nround %d: %s: %s\n", r.Round, r.Status, r.Why)
		var rows [][]string
		for _, c := range r.Changed {
			made := ""
			if c.Made != "" {
				made = fmt.Sprintf("made by %s: calrun why %s %s", c.Made, why.Run, c.Made)
			}
			rows = append(rows, []string{"  " + c.Name, brieflyJSON(c.Old), "→", brieflyJSON(c.New), made})
			for _, f := range c.Files {
				rows = append(rows, []string{"    " + orDash(f.Path), brieflyDigest(f.Old), "→", brieflyDigest(f.New), modeOnly(f.Mode)})
			}
		}
		if err := columns(a.Out, rows); err != nil {
			return err
		}
	}
	return nil
}

// brieflyJSON is a value for people: an artefact by its digest, anything long
// cut.
func brieflyJSON(raw json.RawMessage) string {
	var artefact struct{ Artefact, Digest string }
	if json.Unmarshal(raw, &artefact) == nil && artefact.Artefact != "" {
		return artefact.Artefact + " " + brieflyDigest(artefact.Digest)
	}
	const most = 60
	switch text := []rune(string(raw)); {
	case string(text) == "null":
		return "nothing"
	case len(text) > most:
		return string(text[:most]) + "…"
	default:
		return string(text)
	}
}

func brieflyDigest(digest string) string {
	const most = 12
	hexa := strings.TrimPrefix(digest, "sha256:")
	if hexa == "" {
		return "nothing"
	}
	return hexa[:min(most, len(hexa))]
}

func modeOnly(mode bool) string {
	if mode {
		return "only whether it may be executed"
	}
	return ""
}
