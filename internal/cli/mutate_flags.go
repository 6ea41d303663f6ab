// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/oci"
)

// mutateFlags are the changes that the flags of mutate ask for.
type mutateFlags struct {
	images []edit.Edit
	index  []edit.IndexEdit
	lists  []*wordsFlag
	added  []string // lines of history
	time   time.Time
	made   time.Time // of the image, if it is set
}

// A mutation is what came of them.
type mutation struct {
	dray.MutateOptions
	asked bool
}

func (m mutation) nothing() bool { return !m.asked }

// options are the changes, with what the environment adds.
func (m *mutateFlags) options(epoch string) (out mutation, err error) {
	for _, l := range m.lists {
		if err := l.check(); err != nil {
			return out, err
		}
	}
	now, err := sourceDate(epoch)
	if err != nil {
		return out, err
	}
	out.asked = len(m.images)+len(m.index)+len(m.added) > 0 || !m.time.IsZero()
	out.Images, out.Index, out.LayerTime = m.images, m.index, m.time
	for _, text := range m.added {
		h := edit.History{CreatedBy: text}
		for _, t := range []time.Time{now, m.made} {
			if made := t.UTC(); !t.IsZero() {
				h.Created = &made
			}
		}
		out.Images = append(out.Images, edit.AddHistory(h))
	}
	for _, t := range []time.Time{now, m.time} {
		if !t.IsZero() {
			out.Images = append(out.Images, edit.Clamp(t))
		}
	}
	return out, nil
}

// An actFlag does something with each of its values.
type actFlag func(s string) error

func (actFlag) String() string       { return "" }
func (actFlag) Type() string         { return "string" }
func (f actFlag) Set(s string) error { return f(s) }

func (m *mutateFlags) add(f *pflag.FlagSet, now func() (time.Time, error)) {
	act := func(name, short, help string, make func(s string) (edit.Edit, error)) {
		f.VarP(actFlag(func(s string) error {
			e, err := make(s)
			m.images = append(m.images, e)
			return err
		}), name, short, help)
	}
	pair := func(make func(key, value string) edit.Edit) func(s string) (edit.Edit, error) {
		return func(s string) (edit.Edit, error) {
			key, value, err := keyValue(s)
			return make(key, value), err
		}
	}
	one := func(make func(s string) edit.Edit) func(s string) (edit.Edit, error) {
		return func(s string) (edit.Edit, error) { return make(s), nil }
	}
	port := func(make func(s string) edit.Edit) func(s string) (edit.Edit, error) {
		return func(s string) (edit.Edit, error) { return make(s), edit.CheckPort(s) }
	}
	act("env", "e", "set a variable, `KEY=VALUE`", pair(edit.SetEnv))
	act("remove-env", "", "take out the variable `KEY`", one(edit.RemoveEnv))
	act("label", "l", "set a label, `KEY=VALUE`", pair(edit.SetLabel))
	act("remove-label", "", "take out the label `KEY`", one(edit.RemoveLabel))
	m.addAnnotations(f)
	for _, l := range []wordsFlag{{name: "entrypoint", make: edit.SetEntrypoint}, {name: "cmd", make: edit.SetCmd}, {name: "shell", make: edit.SetShell}, {name: "onbuild", make: edit.SetOnBuild}} {
		l.m = m
		f.Var(&l, l.name, "set the "+l.name+": a JSON list, or one `WORD` each time; a word that begins with [ needs the list")
	}
	act("user", "u", "set the `USER`, or UID, or UID:GID", one(edit.SetUser))
	act("workdir", "w", "set the `DIR` that processes start in", one(edit.SetWorkdir))
	act("exposed-port", "", "expose a `PORT`, PORT/PROTOCOL or FIRST-LAST/PROTOCOL", port(edit.AddPort))
	act("remove-exposed-port", "", "take back an exposed `PORT`", port(edit.RemovePort))
	act("volume", "", "add the volume `DIR`", one(edit.AddVolume))
	act("remove-volume", "", "take out the volume `DIR`", one(edit.RemoveVolume))
	m.addMaking(f, act, now)
	act("healthcheck", "", "set members of the health check: a `JSON` object with Test, Interval, Timeout, StartPeriod, StartInterval, Retries; times are as \"30s\", or nanoseconds", func(s string) (edit.Edit, error) {
		raw, err := edit.ReadHealthcheck([]byte(s))
		return edit.SetHealthcheck(raw), err
	})
	act("stop-signal", "", "set the `SIGNAL` that ends a container", one(edit.SetStopSignal))
	m.addFeatures(f)
	m.addHistory(f, act)
	act("unset", "", "take out a `MEMBER` of the config: "+strings.Join(unsetNames(), ", "), unset)
	f.Var(actFlag(func(s string) (err error) {
		m.time, err = parseTime(s)
		return err
	}), "time", "make later times in config and layers be `TIME`; reads the layers")
}

// An acting adds a flag that makes an edit of each of its values.
type acting func(name, short, help string, make func(s string) (edit.Edit, error))

// addMaking adds what says who made an image, when, and for which platform.
func (m *mutateFlags) addMaking(f *pflag.FlagSet, act acting, now func() (time.Time, error)) {
	one := func(make func(s string) edit.Edit) func(s string) (edit.Edit, error) {
		return func(s string) (edit.Edit, error) { return make(s), nil }
	}
	act("author", "", "set the author to `NAME`", one(edit.SetAuthor))
	act("created", "", "set when the image was made: a `TIME` as 2026-01-31T12:00:00Z, seconds since 1970, or now", func(s string) (edit.Edit, error) {
		t, err := now()
		if s != "now" {
			t, err = parseTime(s)
		}
		m.made = t
		return edit.SetCreated(t), err
	})
	act("set-platform", "", "say that images are for `os/arch[/variant][:os.version]`", func(s string) (edit.Edit, error) {
		p, err := edit.ParsePlatform(s)
		return edit.SetPlatform(p), err
	})
	act("os-version", "", "set the `VERSION` of the operating system", one(edit.SetOSVersion))
}

func (m *mutateFlags) addHistory(f *pflag.FlagSet, act acting) {
	f.StringArrayVar(&m.added, "history", nil, "add a line to the history whose created_by is `TEXT`; it gets the time of --created or SOURCE_DATE_EPOCH")
	act("amend-history", "", "set the comment of the last line of the history to `TEXT`", func(s string) (edit.Edit, error) {
		return edit.AmendHistory(edit.History{Comment: s}), nil
	})
	act("remove-history", "", "take out line `N` of the history, if it is of no layer; the first is 1", func(s string) (edit.Edit, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: want a number from 1", oci.Quote(s))
		}
		return edit.RemoveHistory(n - 1), nil
	})
}

// addFeatures adds the flag whose values together replace what there is.
func (m *mutateFlags) addFeatures(f *pflag.FlagSet) {
	var all []string
	f.Var(actFlag(func(s string) error {
		if all = append(all, s); len(all) == 1 {
			m.images = append(m.images, func(i *edit.Image) error { return edit.SetOSFeatures(all...)(i) })
		}
		return nil
	}), "os-feature", "set the `FEATURE` that the operating system must have (several allowed)")
}

// parseTime reads a time, or seconds since 1970.
func parseTime(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n <= 1<<33-1 {
		return time.Unix(n, 0).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s: want a time as 2026-01-31T12:00:00Z, or seconds since 1970", oci.Quote(s))
	}
	return t.UTC(), nil
}

func keyValue(s string) (key, value string, err error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return key, value, fmt.Errorf("%s: want KEY=VALUE", oci.Quote(s))
	}
	return key, value, nil
}

// A wordsFlag is a JSON list, or one word each time.
type wordsFlag struct {
	m     *mutateFlags
	name  string
	make  func(words ...string) edit.Edit
	given []string
	words []string
}

func (*wordsFlag) String() string { return "" }
func (*wordsFlag) Type() string   { return "WORD" }
func (l *wordsFlag) Set(s string) error {
	if l.given = append(l.given, s); len(l.given) == 1 {
		l.m.lists = append(l.m.lists, l)
		l.m.images = append(l.m.images, func(i *edit.Image) error { return l.make(l.words...)(i) })
	}
	return nil
}

// check finds out what the values are together.
func (l *wordsFlag) check() error {
	l.words = l.given
	for _, one := range l.given {
		switch {
		case one == "" && len(l.given) == 1:
			l.words = nil
		case !strings.HasPrefix(strings.TrimSpace(one), "["):
		case len(l.given) > 1:
			return fmt.Errorf("--%s %s: a JSON list has all the words and stands alone; a word that begins with [ is written in it", l.name, oci.Quote(one))
		default:
			l.words = nil
			if err := json.Unmarshal([]byte(one), &l.words); err != nil {
				return fmt.Errorf("--%s %s is no JSON list of words; a word that begins with [ is written in one: '[\"[x\"]'", l.name, oci.Quote(one))
			}
		}
	}
	return nil
}

// members are what --unset takes out.
var members = []struct {
	name string
	edit edit.Edit
}{
	{"entrypoint", edit.Unset(edit.Entrypoint)}, {"cmd", edit.Unset(edit.Cmd)}, {"env", edit.Unset(edit.Env)},
	{"labels", edit.Unset(edit.Labels)}, {"user", edit.Unset(edit.User)}, {"workdir", edit.Unset(edit.WorkingDir)},
	{"exposed-ports", edit.Unset(edit.ExposedPorts)}, {"volumes", edit.Unset(edit.Volumes)},
	{"healthcheck", edit.Unset(edit.Healthcheck)}, {"stop-signal", edit.Unset(edit.StopSignal)},
	{"shell", edit.Unset(edit.Shell)}, {"onbuild", edit.Unset(edit.OnBuild)},
	{"author", edit.UnsetAuthor()}, {"created", edit.UnsetCreated()},
	{"os-version", edit.SetOSVersion("")}, {"os-features", edit.SetOSFeatures()},
}

func unsetNames() (names []string) {
	for _, m := range members {
		names = append(names, m.name)
	}
	return names
}

func unset(s string) (edit.Edit, error) {
	for _, m := range members {
		if m.name == s {
			return m.edit, nil
		}
	}
	return nil, fmt.Errorf("%s: want one of %s", oci.Quote(s), strings.Join(unsetNames(), ", "))
}

// scopes is the form of what may stand before the key of an annotation, as
// other builders have it.
var scopes = regexp.MustCompile(`^([a-z-]+(\[[A-Za-z0-9_./:-]+\])?)(,[a-z-]+(\[[A-Za-z0-9_./:-]+\])?)*:`)

func (m *mutateFlags) addAnnotations(f *pflag.FlagSet) {
	f.VarP(actFlag(func(s string) error {
		scope, rest := cutScope(s)
		key, value, err := keyValue(rest)
		if err != nil {
			return err
		}
		return m.annotate(scope, edit.SetAnnotation(key, value), edit.AnnotateIndex(key, value),
			func(p *oci.Platform) edit.IndexEdit { return edit.AnnotateEntries(p, key, value) })
	}), "annotation", "a", "set an annotation, `[SCOPE:]KEY=VALUE`")
	f.Var(actFlag(func(s string) error {
		scope, key := cutScope(s)
		if key == "" {
			return fmt.Errorf("%s: want KEY", oci.Quote(s))
		}
		return m.annotate(scope, edit.RemoveAnnotation(key), edit.RemoveIndexAnnotation(key),
			func(p *oci.Platform) edit.IndexEdit { return edit.RemoveEntryAnnotations(p, key) })
	}), "remove-annotation", "take out an annotation, `[SCOPE:]KEY`")
}

// cutScope cuts off what stands before the key of an annotation.
func cutScope(s string) (scope, rest string) {
	before, _, _ := strings.Cut(s, "=")
	if found := scopes.FindString(before); found != "" {
		return strings.TrimSuffix(found, ":"), s[len(found):]
	}
	return "manifest", s
}

func (m *mutateFlags) annotate(scope string, image edit.Edit, index edit.IndexEdit, entries func(p *oci.Platform) edit.IndexEdit) error {
	for _, s := range strings.Split(scope, ",") {
		kind, platform, _ := strings.Cut(strings.TrimSuffix(s, "]"), "[")
		var p *oci.Platform
		if platform != "" {
			x, err := oci.ParsePlatform(platform)
			if err != nil {
				return err
			}
			p = &x
		}
		switch {
		case kind == "manifest" && p == nil:
			m.images = append(m.images, image)
		case kind == "manifest":
			m.images = append(m.images, edit.On(*p, image))
		case kind == "manifest-descriptor":
			m.index = append(m.index, entries(p))
		case kind == "index" && p == nil:
			m.index = append(m.index, index)
		default:
			return fmt.Errorf("annotation of %s: want manifest, manifest-descriptor or index", oci.Quote(s))
		}
	}
	return nil
}
