// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/dray-tools/dray/oci"
)

// words are the templates of a program's flags, before they are filled in.
type words struct {
	flags, ldflags             []string
	untoldFlags, untoldLdflags bool // they are written down nowhere
}

// words are what the user asks for: on the command line, else for this program,
// else for all.
func (p *Program) words(o *Options) (w words) {
	w.flags, w.untoldFlags = o.Config.Flags, o.Config.UntoldFlags
	w.ldflags, w.untoldLdflags = o.Config.Ldflags, o.Config.UntoldLdflags
	if p.entry != nil && len(p.entry.Flags) > 0 {
		w.flags, w.untoldFlags = p.entry.Flags, false
	}
	if p.entry != nil && len(p.entry.Ldflags) > 0 {
		w.ldflags, w.untoldLdflags = p.entry.Ldflags, false
	}
	if len(o.Flags) > 0 {
		w.flags, w.untoldFlags = o.Flags, o.Untold
	}
	if len(o.Ldflags) > 0 {
		w.ldflags, w.untoldLdflags = o.Ldflags, o.Untold
	}
	return w
}

// env is the environment that a program asks for.
func (p *Program) env(o *Options) []string {
	if p.entry != nil && len(p.entry.Env) > 0 {
		return p.entry.Env
	}
	return o.Config.Env
}

// data is what templates are filled in with, as ko has it. Parts that cost
// something are there if a text names them.
func (p *Program) data(ctx context.Context, env []string, w words, date time.Time) (map[string]any, error) {
	all := strings.Join(w.flags, "\n") + "\n" + strings.Join(w.ldflags, "\n")
	if date.IsZero() {
		date = time.Now()
	}
	vars := map[string]string{"LDFLAGS": ""}
	for _, line := range p.tool.environment(env...) {
		if k, v, ok := strings.Cut(line, "="); ok {
			vars[k] = v
		}
	}
	data := map[string]any{"Env": vars, "Date": date.Format(time.RFC3339), "Timestamp": date.UTC().Unix()}
	if strings.Contains(all, "GoEnv") {
		raw, err := p.tool.run(ctx, p.work, env, "env", "-json")
		if err != nil {
			return nil, err
		}
		var goenv map[string]string
		if err := json.Unmarshal(raw, &goenv); err != nil {
			return nil, oci.Wrap("", "go env", err)
		}
		data["GoEnv"] = goenv
	}
	if strings.Contains(all, "Git") {
		data["Git"] = gitData(ctx, p.work, p.tool.env)
	}
	return data, nil
}

// told is data in which the values of variables are their names.
func told(data map[string]any) map[string]any {
	out := map[string]any{}
	for key, v := range data {
		if m, ok := v.(map[string]string); ok {
			names := map[string]string{}
			for k := range m {
				names[k] = "{{." + key + "." + k + "}}"
			}
			v = names
		}
		out[key] = v
	}
	return out
}

// fill fills in templates. What is named and not there is ErrInvalid.
func fill(list []string, data map[string]any) (out []string, err error) {
	for _, s := range list {
		t, err := template.New("").Option("missingkey=error").Parse(s)
		var b strings.Builder
		if err == nil {
			err = t.Execute(&limited{w: &b, left: 1 << 20}, data)
		}
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "template: ")
			return nil, oci.Errorf(oci.ErrInvalid, "flag %s: %s", oci.Quote(s), strings.TrimLeft(text, ":0123456789 "))
		}
		out = append(out, b.String())
	}
	return out, nil
}

// limited ends a template that would never end.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fmt.Errorf("it becomes too long")
	}
	return l.w.Write(p)
}

// checkFlags refuses flags that run another program for each step of a build, as
// ko does, and those with which go build makes nothing, or makes it elsewhere.
func checkFlags(where string, flags []string) error {
	for _, f := range flags {
		name, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "=")
		switch {
		case !strings.HasPrefix(f, "-"):
		case name == "toolexec":
			return oci.Errorf(oci.ErrInvalid, "%s: -toolexec is not allowed, as it runs any program", where)
		case name == "n" || name == "o" || name == "C":
			return oci.Errorf(oci.ErrInvalid, "%s: with -%s go build does not make the program where it is looked for", where, name)
		}
	}
	return nil
}
