package field

import (
	"encoding/json"
	"fmt"

	"calrun/pipeline/canonical"
	"calrun/pipeline/secret"
)

// Identity is a `with` as keys have it: fields that say where something is,
// and not what it is, are left out (`key:"-"`), and fields that are not given
// have their defaults, so that a default that is written out is no other
// value and a default that a new calrun changes is one. Fields without a
// default that are not given stay out.
func (sh *Shape) Identity(with json.RawMessage) (json.RawMessage, error) {
	tree, err := canonical.Decode(with)
	if err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	return canonical.JSON(sh.identity(tree))
}

// identity changes a decoded `with` in place where it can, and returns it.
func (sh *Shape) identity(v any) any {
	if sh.Opaque() && sh.Go != secretType {
		return v
	}
	switch x := v.(type) {
	case []any:
		if sh.Type.Sort == List {
			for i := range x {
				x[i] = sh.elem.identity(x[i])
			}
		}
	case map[string]any:
		switch {
		case sh.Go == secretType:
			return secretIdentity(x)
		case sh.Type.Sort == Object:
			sh.identityFields(x)
		case sh.Type.Sort == Map:
			for name := range x {
				x[name] = sh.elem.identity(x[name])
			}
		}
	}
	return v
}

func (sh *Shape) identityFields(x map[string]any) {
	for _, fd := range sh.Fields {
		v, there := x[fd.Name]
		switch {
		case fd.apart:
			delete(x, fd.Name)
		case there:
			x[fd.Name] = fd.Shape.identity(v)
		case fd.std != nil:
			x[fd.Name] = fd.Shape.identity(fd.std.Plain())
		case fd.Shape.Type.Sort == Object && !fd.optional:
			if inner := fd.Shape.identity(map[string]any{}).(map[string]any); len(inner) > 0 {
				x[fd.Name] = inner
			}
		}
	}
}

// secretIdentity is a secret as keys know it: by its name, wherever its file
// lies.
func secretIdentity(x map[string]any) any {
	src := secret.Source{}
	src.Env, _ = x["env"].(string)
	if file, ok := x["file"].(map[string]any); ok {
		src.File, _ = file["path"].(string)
	}
	if src == (secret.Source{}) {
		return x
	}
	return map[string]any{"secret": src.Name()}
}
