// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/dray-tools/dray/oci"
)

// platformArgs are the arguments that every Dockerfile can declare without
// being given them (Dockerfile reference, "Automatic platform ARGs in the global
// scope").
func platformArgs(host, target oci.Platform, stage string) map[string]string {
	m := map[string]string{"TARGETSTAGE": cmp.Or(stage, "default")}
	for prefix, p := range map[string]oci.Platform{"BUILD": host, "TARGET": target} {
		p = oci.NormalizePlatform(p)
		bare := p
		bare.OSVersion = ""
		m[prefix+"PLATFORM"] = oci.FormatPlatform(bare)
		m[prefix+"OS"], m[prefix+"ARCH"], m[prefix+"VARIANT"], m[prefix+"OSVERSION"] = p.OS, p.Architecture, p.Variant, p.OSVersion
	}
	return m
}

// globals are the arguments before the first FROM: those of the platforms, and
// those that the file declares.
func (x *evaluation) globals(given map[string]string) (vars, error) {
	target := x.o.Target
	if target == "" {
		target = x.stages[len(x.stages)-1].Name
	}
	v := vars{args: map[string]string{}}
	for name, value := range platformArgs(x.o.Host, x.platform, target) {
		if own, ok := given[name]; ok {
			value = own
			x.use(name)
		}
		v.setArg(name, value)
	}
	lex := shell.NewLex(x.escape)
	for _, c := range x.script.args {
		for _, a := range c.Args {
			x.known[a.Key] = true
			if value, ok := given[a.Key]; ok {
				v.setArg(a.Key, value)
				x.use(a.Key)
				continue
			}
			if a.Value == nil {
				continue
			}
			value, _, _, err := expand(lex, *a.Value, v)
			if err != nil {
				return v, located(x.name, firstLine(c.Location()), err)
			}
			v.setArg(a.Key, value)
		}
	}
	return v, nil
}

// arg declares arguments in a stage. The history has the values that the file
// gives, and not those of the user: they may be secrets, and everybody can read it.
func (s *stage) arg(c *instructions.ArgCommand) error {
	line := "ARG"
	for _, a := range c.Args {
		s.lintSecret("ARG", a.Key, c)
		value, given := s.o.Args[a.Key]
		set := given
		global, imported := s.global.args[a.Key]
		switch {
		case given:
			s.use(a.Key)
		case a.Value != nil:
			var err error
			if value, err = s.expand(c, s.lex(), *a.Value); err != nil {
				return err
			}
			set = true
		case imported:
			value, set = global, true
		}
		s.declared[a.Key] = true
		line += " " + a.Key
		if set {
			if !given {
				line += "=" + value
			}
			if !strings.HasPrefix(a.Key, "BUILDKIT_SBOM_SCAN_") {
				s.vars.setArg(a.Key, value)
			}
		}
	}
	return s.history(line)
}

// forBuilders are arguments that are meant for the program that builds, not for
// the Dockerfile; they need not be declared.
func forBuilders(name string) bool {
	proxies := []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}
	return slices.Contains(proxies, strings.ToUpper(name)) || strings.HasPrefix(name, "BUILDKIT_") || name == "SOURCE_DATE_EPOCH"
}
