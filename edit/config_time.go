// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"time"

	"github.com/dray-tools/dray/oci"
)

// SetCreated sets when the image was made.
func SetCreated(t time.Time) Edit {
	return func(i *Image) error {
		if now, ok := instant(i.Get("created")); ok && now.Equal(t) {
			return nil
		}
		return i.Set(t.UTC(), "created")
	}
}

// UnsetCreated takes out when the image was made.
func UnsetCreated() Edit { return top("created") }

// UnsetAuthor takes out who made the image.
func UnsetAuthor() Edit { return top("author") }

func top(member string) Edit {
	return func(i *Image) error {
		i.Remove(member)
		return i.needConfig()
	}
}

// Clamp makes the times of the config that are later than t, its own and those of
// its history, be t.
func Clamp(t time.Time) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		places := [][]any{{"created"}}
		for n := range i.History() {
			places = append(places, []any{"history", n, "created"})
		}
		for _, at := range places {
			if now, ok := instant(i.config.Get(at...)); ok && now.After(t) {
				if err := i.config.Set(t.UTC(), at...); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// instant reads a time of the config.
func instant(raw json.RawMessage) (t time.Time, ok bool) {
	return t, !isNull(raw) && json.Unmarshal(raw, &t) == nil
}

// AddHistory appends a line to the history that is of no layer.
func AddHistory(h History) Edit {
	h.EmptyLayer = true
	return func(i *Image) error { return i.Splice(len(i.layers), len(i.layers), nil, []History{h}) }
}

// RemoveHistory takes out line n of the history, the first is 0. ErrInvalid if
// there is none, or if it is of a layer: those go with their layer.
func RemoveHistory(n int) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		h := i.History()
		switch {
		case n < 0 || n >= len(h):
			return oci.Errorf(oci.ErrInvalid, "the history has %d lines, there is no number %d", len(h), n+1)
		case !h[n].EmptyLayer:
			return oci.Errorf(oci.ErrInvalid, "line %d of the history is that of a layer", n+1)
		}
		i.config.Remove("history", n)
		return i.tidyHistory()
	}
}

// AmendHistory changes the last line of the history: what h says replaces what is
// there. ErrInvalid if there is no line.
func AmendHistory(h History) Edit {
	return func(i *Image) error {
		last := len(i.History()) - 1
		if last < 0 {
			return oci.Errorf(oci.ErrInvalid, "there is no history")
		}
		set := func(member string, given bool, value any) error {
			if !given {
				return nil
			}
			return setAt(i.config, value, "history", last, member)
		}
		err := set("created", h.Created != nil, h.Created)
		if err == nil {
			err = set("created_by", h.CreatedBy != "", h.CreatedBy)
		}
		if err == nil {
			err = set("author", h.Author != "", h.Author)
		}
		if err == nil {
			err = set("comment", h.Comment != "", h.Comment)
		}
		return err
	}
}

// SetPlatform sets what the image runs on, in the config, and with it in the
// entry of an index. Without a variant it has none. What only fits another
// operating system goes with that.
func SetPlatform(p oci.Platform) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		now := i.Platform()
		if p.OS == "" || p.Architecture == "" {
			return oci.Errorf(oci.ErrInvalid, "a platform has an os and an architecture")
		}
		if now.OS != p.OS {
			i.Remove("os.version")
			i.Remove("os.features")
		}
		if oci.NormalizePlatform(now).Variant != oci.NormalizePlatform(p).Variant || now.Architecture != p.Architecture {
			i.Remove("variant")
			if p.Variant != "" {
				if err := i.Set(p.Variant, "variant"); err != nil {
					return err
				}
			}
		}
		err := i.Set(p.OS, "os")
		if err == nil {
			err = i.Set(p.Architecture, "architecture")
		}
		if err == nil && p.OSVersion != "" {
			err = SetOSVersion(p.OSVersion)(i)
		}
		if err == nil && len(p.OSFeatures) > 0 {
			err = SetOSFeatures(p.OSFeatures...)(i)
		}
		return err
	}
}

// SetOSVersion sets the version of the operating system; "": none.
func SetOSVersion(v string) Edit {
	if v == "" {
		return top("os.version")
	}
	return func(i *Image) error { return i.Set(v, "os.version") }
}

// SetOSFeatures sets what the operating system must have, as win32k.
func SetOSFeatures(features ...string) Edit {
	if len(features) == 0 {
		return top("os.features")
	}
	return func(i *Image) error { return i.Set(features, "os.features") }
}
