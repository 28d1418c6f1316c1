package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// factsFile is where the facts lie in a measurement and in a workload.
const factsFile = "engine.json"

// WriteFacts writes engine.json into dir.
func WriteFacts(dir string, f Facts) error { return writeJSON(filepath.Join(dir, factsFile), f) }

// ReadFacts reads what [WriteFacts] wrote.
func ReadFacts(dir string) (Facts, error) {
	var f Facts
	path := filepath.Join(dir, factsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("read the engine's facts: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("read the engine's facts %s: %w", path, err)
	}
	return f, nil
}

// Write writes host.json into dir.
func (h Host) Write(dir string) error { return writeJSON(filepath.Join(dir, "host.json"), h) }

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
