// SPDX-License-Identifier: Apache-2.0

package rebase

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// members is a JSON object.
type members map[string]json.RawMessage

func object(raw json.RawMessage) members {
	var m members
	_ = json.Unmarshal(raw, &m) // what is no object has no members
	return m
}

// A merger merges an image's config with those of two bases.
type merger struct {
	app     *edit.Image
	report  *Report
	windows bool
	known   bool // what the old base's config is
	nulls   bool // what is not set is written null, as Docker does
}

// own are members that say how and when the application was built, or that are
// taken care of elsewhere.
var own = []string{"architecture", "author", "config", "container", "container_config", "created", "docker_version", "history", "id", "os", "parent", "rootfs", "throwaway"}

// silent are members of which nobody wants to know that they differ.
var silent = []string{"Hostname", "Domainname", "Image", "MacAddress"}

// mostMembers is how many members an object of a config may have, and how many
// variables there may be, as merging compares each with all others.
const mostMembers = 2000

func bounded(n int, what string) error {
	if n > mostMembers {
		return oci.Errorf(oci.ErrInvalid, "config: %d members in %s, more than %d", n, what, mostMembers)
	}
	return nil
}

func (m *merger) config(old, onto *image.Image) error {
	was, now := members{}, object(onto.Config)
	if old != nil {
		was = object(old.Config)
	}
	app := object(m.app.RawConfig())
	if err := bounded(len(was)+len(app)+len(now), "it"); err != nil {
		return err
	}
	for _, k := range keysOf(was, app, now) {
		if slices.Contains(own, k) {
			continue
		}
		o := was[k]
		if k == "os.version" || k == "os.features" || k == "variant" && !sameVariant(m.app.Platform(), onto.Platform) {
			o = app[k] // of the base, whatever the application says
		}
		if err := m.member(k, o, app[k], now[k], k); err != nil {
			return err
		}
	}
	return m.inner(object(was["config"]), object(now["config"]))
}

func sameVariant(a, b oci.Platform) bool {
	return oci.NormalizePlatform(a).Variant == oci.NormalizePlatform(b).Variant
}

// inner merges what is in the member config.
func (m *merger) inner(was, now members) error {
	app := object(m.app.Get("config"))
	m.nulls = app["Hostname"] != nil
	for _, v := range app {
		m.nulls = m.nulls || string(v) == "null"
	}
	if err := bounded(len(was)+len(app)+len(now), "config"); err != nil {
		return err
	}
	if err := m.env(was["Env"], app["Env"], now["Env"]); err != nil {
		return err
	}
	if err := m.command(was, app, now); err != nil {
		return err
	}
	for _, k := range keysOf(was, app, now) {
		var err error
		switch k {
		case "Env", "Entrypoint", "Cmd":
		case "Labels":
			err = m.set(k, "label ", was[k], app[k], now[k])
		case "Volumes":
			err = m.set(k, "volume ", was[k], app[k], now[k])
		case "ExposedPorts":
			err = m.set(k, "port ", was[k], app[k], now[k])
		default:
			err = m.member(fieldName(k), was[k], app[k], now[k], "config", k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fieldName is what the report calls a member: StopSignal is stop signal.
func fieldName(key string) string {
	switch key {
	case "WorkingDir":
		return "workdir"
	case "OnBuild":
		return "onbuild"
	}
	var b strings.Builder
	for n, r := range key {
		if r >= 'A' && r <= 'Z' {
			if n > 0 {
				b.WriteByte(' ')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// member merges a value as a whole.
func (m *merger) member(field string, old, app, onto json.RawMessage, path ...string) error {
	if equal(app, old) {
		return m.take(field, old, app, onto, path...)
	}
	m.keep(field, old, app, onto)
	return nil
}

// take makes a member what the new base has.
func (m *merger) take(field string, old, app, onto json.RawMessage, path ...string) error {
	if equal(app, onto) {
		return nil
	}
	m.say(Change{Field: field, Old: short(old), App: short(app), New: short(onto), Took: Base})
	if !empty(onto) {
		return m.app.Insert(onto, path...)
	}
	return m.clear(path...)
}

// keep leaves a member as it is, and says so if the base has another.
func (m *merger) keep(field string, old, app, onto json.RawMessage) {
	triggers := field == "onbuild" && empty(app) // building the application has pulled them
	if !equal(old, onto) && !equal(app, onto) && !triggers {
		m.say(Change{Field: field, Old: short(old), App: short(app), New: short(onto), Took: App, Conflict: true})
	}
}

func (m *merger) say(c Change) {
	if !slices.ContainsFunc(silent, func(s string) bool { return fieldName(s) == c.Field }) {
		m.report.Changes = append(m.report.Changes, c)
	}
}

// clear takes a member out, in the way in which the config says so: Docker's
// engine always writes some members.
func (m *merger) clear(path ...string) error {
	if m.nulls && len(path) == 2 && path[0] == "config" {
		switch path[1] {
		case "Env", "Cmd", "Entrypoint", "Volumes", "OnBuild", "Labels":
			return m.app.Set(json.RawMessage("null"), path...)
		case "User", "WorkingDir", "Hostname", "Domainname", "Image":
			return m.app.Set("", path...)
		}
	}
	m.app.Remove(path...)
	return nil
}

// set merges an object member by member.
func (m *merger) set(key, prefix string, old, app, onto json.RawMessage) error {
	was, have, now := object(old), object(app), object(onto)
	if err := bounded(max(len(was), len(have), len(now)), key); err != nil {
		return err
	}
	whole := equal(old, app) && !empty(onto) && len(now) > 0 // it comes as it is written
	if whole {
		if err := m.app.Insert(onto, "config", key); err != nil {
			return err
		}
	}
	for _, k := range keysOf(was, have, now) {
		o := was[k]
		if !m.known && (strings.HasPrefix(k, "io.buildpacks.base.") || strings.HasPrefix(k, "io.buildpacks.stack.")) {
			o = have[k] // always of the base
		}
		if (o == nil) != (have[k] == nil) || o != nil && !jsonedit.Same(o, have[k]) {
			if !alike(o, now[k]) && !alike(have[k], now[k]) {
				m.say(Change{Field: prefix + k, Old: short(o), App: short(have[k]), New: short(now[k]), Took: App, Conflict: true})
			}
			continue
		}
		if alike(have[k], now[k]) {
			continue
		}
		m.say(Change{Field: prefix + k, Old: short(o), App: short(have[k]), New: short(now[k]), Took: Base})
		if whole {
			continue
		}
		if now[k] == nil {
			m.app.Remove("config", key, k)
		} else if err := m.app.Insert(now[k], "config", key, k); err != nil {
			return err
		}
	}
	if left := object(m.app.Get("config", key)); len(left) == 0 && len(have) > 0 && string(onto) != "{}" {
		return m.clear("config", key)
	}
	return nil
}

// alike is same, where what is missing is like nothing else.
func alike(a, b json.RawMessage) bool {
	return (a == nil) == (b == nil) && (a == nil || jsonedit.Same(a, b))
}

func (m *merger) env(old, app, onto json.RawMessage) error {
	var list [3][]string
	for n, raw := range []json.RawMessage{old, app, onto} {
		if raw != nil && json.Unmarshal(raw, &list[n]) != nil {
			return oci.Errorf(oci.ErrInvalid, "config: Env is no list of strings")
		}
	}
	if err := bounded(max(len(list[0]), len(list[1]), len(list[2])), "Env"); err != nil {
		return err
	}
	before := newEnvironment(list[1], m.windows)
	merged, changes := mergeEnv(newEnvironment(list[0], m.windows), before, newEnvironment(list[2], m.windows))
	for _, c := range changes {
		m.say(c)
	}
	unchanged := make([]string, len(before.keys))
	for i, k := range before.keys {
		unchanged[i] = before.entries[k]
	}
	switch {
	case slices.Equal(merged, unchanged):
		return nil
	case len(list[0])+len(list[1]) == 0:
		return m.app.Insert(onto, "config", "Env")
	case len(merged) == 0:
		return m.clear("config", "Env")
	}
	return m.app.SetList(merged, "config", "Env")
}

// command merges entrypoint and cmd, which belong together, as building would:
// an application that sets the entrypoint has both, as that hides the base's
// cmd; one that sets only the cmd gives it to the entrypoint of its base.
func (m *merger) command(was, app, now members) error {
	const e, c = "Entrypoint", "Cmd"
	if !equal(app[e], was[e]) {
		m.keep("entrypoint", was[e], app[e], now[e])
		if !empty(app[c]) {
			m.keep("cmd", was[c], app[c], now[c])
		}
		return nil
	}
	if !equal(app[c], was[c]) && !equal(was[e], now[e]) {
		m.report.Warnings = append(m.report.Warnings, "the application's cmd goes to the entrypoint of the new base, which is another one: "+cmp.Or(short(now[e]), "none"))
	}
	if err := m.take("entrypoint", was[e], app[e], now[e], "config", e); err != nil {
		return err
	}
	return m.member("cmd", was[c], app[c], now[c], "config", c)
}

// keysOf is the members of objects, sorted.
func keysOf(list ...members) []string {
	all := members{}
	for _, m := range list {
		maps.Copy(all, m)
	}
	return slices.Sorted(maps.Keys(all))
}

// empty reports whether a value says as much as none.
func empty(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", `""`, "[]", "{}", "false":
		return true
	}
	return false
}

func equal(a, b json.RawMessage) bool { return empty(a) && empty(b) || jsonedit.Same(a, b) }

// same compares values that are there.
// short is a value for the report: a string without its quotes.
func short(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return shorten(s)
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return ""
	}
	return shorten(b.String())
}

const longest = 200 // bytes of a value in a report

func shorten(s string) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
