package pipeline

import (
	"testing"

	"calrun/internal/rooms"
)

// The list of rooms in the package comment says what stands on what, and in
// an order in which imports go downwards.
func TestRoomsAreAsDocumented(t *testing.T) { rooms.Check(t, "calrun/pipeline") }
