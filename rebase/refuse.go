// SPDX-License-Identifier: Apache-2.0

package rebase

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// ErrRefused is what Options.Force overrides: that a rebase is likely to make an
// image that does not work. It is an ErrInvalid as well.
var ErrRefused = errors.New("refused")

// refused is an error of both kinds.
type refused struct{ error }

func (r refused) Is(target error) bool { return target == ErrRefused }
func (r refused) Unwrap() error        { return r.error }

func refusal(format string, args ...any) error {
	return refused{oci.Errorf(oci.ErrInvalid, format, args...)}
}

// refuse finds reasons against a rebase.
func refuse(app *edit.Image, old, onto *image.Image, o Options) error {
	have, want := oci.NormalizePlatform(app.Platform()), oci.NormalizePlatform(onto.Platform)
	if old != nil {
		was := oci.NormalizePlatform(old.Platform)
		if was.OS != have.OS || was.Architecture != have.Architecture {
			return otherPlatform("old", app, old)
		}
	}
	switch {
	case have.OS != want.OS || have.Architecture != want.Architecture:
		return otherPlatform("new", app, onto)
	case o.Force:
		return nil
	case have.Variant != want.Variant:
		return refused{otherPlatform("new", app, onto)}
	case have.OS == "windows" && !nano(o.Old, old) && nano(o.New, onto):
		return refusal("the image is made for a Windows Server Core, and the new base is a Nano Server, which lacks much of that")
	}
	if v := labels(app.RawConfig())["io.buildpacks.rebasable"]; v == "false" {
		return refusal("the image is labelled io.buildpacks.rebasable=false")
	}
	const stack = "io.buildpacks.stack.id"
	a, b := labels(app.RawConfig())[stack], labels(onto.Config)[stack]
	if a != "" && b != "" && a != b {
		return refusal("the image is made for the stack %s, and the new base is %s", oci.Quote(a), oci.Quote(b))
	}
	return nil
}

func otherPlatform(which string, app *edit.Image, base *image.Image) error {
	return oci.Errorf(oci.ErrInvalid, "the image is for %s, and the %s base for %s", platform(app.Platform()), which, platform(base.Platform))
}

func platform(p oci.Platform) string {
	p.OSVersion = ""
	return oci.FormatPlatform(p)
}

func labels(config []byte) map[string]string {
	var c struct {
		Config struct{ Labels map[string]string }
	}
	_ = json.Unmarshal(config, &c) // was read before
	return c.Config.Labels
}

// nano reports whether a base is a Nano Server, which nothing in it says: by its
// name, or by the user that Microsoft's images of it have.
func nano(name string, base *image.Image) bool {
	name, _, _ = strings.Cut(name, "@")
	name = strings.ToLower(path.Base(name))
	if strings.Contains(name, "nanoserver") {
		return true
	}
	if base == nil || strings.Contains(name, "servercore") || strings.HasPrefix(name, "windows:") || strings.HasPrefix(name, "server:") {
		return false
	}
	var c struct{ Config struct{ User string } }
	_ = json.Unmarshal(base.Config, &c)
	return c.Config.User == "ContainerUser"
}

// Check judges what the application's layers do to the base: a part of the
// Windows registry or the database of a package manager in them is refused
// without force, as it hides that of the new base; else there are warnings.
func Check(c layer.Collision, force bool) (warnings []string, err error) {
	for _, x := range []struct {
		paths layer.Paths
		what  string
		bad   bool
	}{
		{c.Hives, "changes of the Windows registry, which are of the old base's version", true},
		{c.Packages, "the package database, which hides that of the new base", true},
		{c.Changed, "files in the place of some that the new base has changed", false},
		{c.Whiteouts, "whiteouts of files of the base", false},
	} {
		if x.paths.Count == 0 {
			continue
		}
		text := fmt.Sprintf("the application's layers have %s: %s", x.what, list(x.paths))
		if x.bad && !force {
			return nil, refusal("%s", text)
		}
		warnings = append(warnings, text)
	}
	return warnings, nil
}

// list names a few of some paths.
func list(p layer.Paths) string {
	names := make([]string, min(3, len(p.First)))
	for n := range names {
		names[n] = oci.Quote(p.First[n])
	}
	text := strings.Join(names, ", ")
	if more := p.Count - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
