package cli

import (
	"encoding/json"
	"fmt"
)

// print writes the one JSON document of a verb.
func (a *app) print(doc any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
