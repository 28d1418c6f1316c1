package pipeline

// Artefact is a file or a folder as a typed value: what a step reads through
// its `with` and what it yields in its result.
//
// A field of this type carries the tag `artefact:"measurement"`, the sort of
// thing it holds; a reference from a result to a `with` field of another sort
// is a load error. In a plan the value is a path (relative to the plan) or a
// reference. A step that yields one sets Path to something below
// [Runtime.Dir]; the runner stores it and sets Digest. A step that reads one
// finds Path set to a read-only place whose content has Digest.
type Artefact struct {
	Of     string `json:"artefact"`
	Digest string `json:"digest"` // "sha256:<64 hex>" of the file, or of the folder's tree
	Path   string `json:"-"`
}

// IsZero says whether the artefact was left out.
func (a Artefact) IsZero() bool { return a.Digest == "" && a.Path == "" }
