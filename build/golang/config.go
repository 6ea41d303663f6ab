// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dray-tools/dray/oci"
)

// Config is what .ko.yaml says (ko.build, "Configuration"). Whatever the case of
// a key, it is the same.
type Config struct {
	Path         string            // of the file, for errors; "": none
	Base         string            // defaultBaseImage
	Overrides    map[string]string // baseImageOverrides: bases by import path in lower case
	Platforms    []oci.Platform    // defaultPlatforms
	AllPlatforms bool              // defaultPlatforms: [all]
	Env          []string          // defaultEnv
	Flags        []string          // defaultFlags
	Ldflags      []string          // defaultLdflags
	Builds       []Build
	Notes        []string // what the file says that means nothing

	UntoldFlags, UntoldLdflags bool // Flags and Ldflags are of the environment, and written down nowhere
}

// A Build is how one program is built.
type Build struct {
	ID                        string
	Dir, Main                 string // of the package; relative to Options.Dir and to Dir
	Env, Flags, Ldflags, Caps []string
}

const (
	maxConfig  = 1 << 20
	configName = ".ko.yaml"
)

// ReadConfig reads a .ko.yaml, or that in a directory, or, if path is empty, that
// in dir, where there may be none. Keys that are none are noted. Of the variables
// KO_KEY that getenv has, those that mean a key of the file count more than it.
// ErrInvalid, with the line, for what cannot be right.
func ReadConfig(path, dir string, getenv func(string) string) (c Config, err error) {
	c.Overrides = map[string]string{}
	raw, err := c.open(path, dir)
	if err != nil {
		return c, err
	}
	if err = c.parse(raw); err != nil {
		return c, oci.Wrap("", c.Path, err)
	}
	return c, c.environment(getenv)
}

// open finds the file.
func (c *Config) open(path, dir string) ([]byte, error) {
	c.Path = path
	if path == "" {
		c.Path = join(dir, configName)
	} else if info, err := os.Stat(path); err == nil && info.IsDir() {
		c.Path = filepath.Join(path, configName)
	}
	f, err := os.Open(c.Path)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		c.Path = ""
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, oci.Wrap("", c.Path, oci.Errorf(oci.ErrInvalid, "it is no file"))
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(raw) > maxConfig {
		err = oci.Wrap("", c.Path, oci.Errorf(oci.ErrInvalid, "it has more than %d bytes", maxConfig))
	}
	return raw, err
}

func (c *Config) parse(raw []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return oci.Errorf(oci.ErrInvalid, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	var platforms []string
	err := members(doc.Content[0], func(key string, v *yaml.Node) (err error) {
		switch strings.ToLower(key) {
		case "defaultbaseimage":
			c.Base, err = text(v)
		case "baseimageoverrides":
			err = members(v, func(k string, v *yaml.Node) (err error) {
				c.Overrides[strings.ToLower(k)], err = text(v)
				return err
			})
		case "defaultplatforms":
			if platforms, err = list(v, true); err == nil {
				err = c.setPlatforms(platforms)
			}
		case "defaultenv":
			c.Env, err = list(v, true)
		case "defaultflags":
			c.Flags, err = list(v, true)
		case "defaultldflags":
			c.Ldflags, err = list(v, true)
		case "builds":
			err = c.builds(v)
		default:
			c.unknown(v, key)
		}
		return at(v, err)
	})
	return err
}

// builds reads the list of builds.
func (c *Config) builds(list *yaml.Node) error {
	if list.Kind == yaml.AliasNode {
		list = list.Alias
	}
	if isNull(list) {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		return oci.Errorf(oci.ErrInvalid, "builds: want a list")
	}
	for _, n := range list.Content {
		var b Build
		if err := c.build(n, &b); err != nil {
			return err
		}
		c.Builds = append(c.Builds, b)
	}
	return nil
}

func (c *Config) build(n *yaml.Node, b *Build) error {
	return members(n, func(key string, v *yaml.Node) (err error) {
		switch strings.ToLower(key) {
		case "id":
			b.ID, err = text(v)
		case "dir":
			b.Dir, err = text(v)
		case "main":
			b.Main, err = text(v)
		case "env":
			b.Env, err = list(v, false)
		case "flags":
			b.Flags, err = list(v, true)
		case "ldflags":
			b.Ldflags, err = list(v, false)
		case "linux_capabilities":
			b.Caps, err = list(v, true)
		default:
			c.unknown(v, key)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		return at(v, err)
	})
}

func (c *Config) unknown(v *yaml.Node, key string) {
	c.Notes = append(c.Notes, fmt.Sprintf("%s:%d: ko and dray know no key %s", c.Path, v.Line, oci.Quote(key)))
}

// name is what errors call a build.
func (c *Config) name(n int) string {
	if id := c.Builds[n].ID; id != "" {
		return fmt.Sprintf("%s: builds: %s", c.Path, oci.Quote(id))
	}
	return fmt.Sprintf("%s: builds: number %d", c.Path, n+1)
}

// environment takes what the environment says instead of the file.
func (c *Config) environment(getenv func(string) string) error {
	if getenv == nil {
		return nil
	}
	if s := getenv("KO_DEFAULTBASEIMAGE"); s != "" {
		c.Base = s
	}
	for name, to := range map[string]*[]string{"KO_DEFAULTENV": &c.Env, "KO_DEFAULTFLAGS": &c.Flags, "KO_DEFAULTLDFLAGS": &c.Ldflags} {
		if s := getenv(name); s != "" {
			*to = strings.Fields(s)
		}
	}
	c.UntoldFlags, c.UntoldLdflags = getenv("KO_DEFAULTFLAGS") != "", getenv("KO_DEFAULTLDFLAGS") != ""
	if s := getenv("KO_BASEIMAGEOVERRIDES"); s != "" {
		var all map[string]string
		if err := json.Unmarshal([]byte(s), &all); err != nil {
			return oci.Errorf(oci.ErrInvalid, "KO_BASEIMAGEOVERRIDES: want a JSON object of import paths and bases")
		}
		c.Overrides = map[string]string{}
		for k, v := range all {
			c.Overrides[strings.ToLower(k)] = v
		}
	}
	if s := getenv("KO_DEFAULTPLATFORMS"); s != "" {
		return oci.Wrap("", "KO_DEFAULTPLATFORMS", c.setPlatforms(strings.Fields(s)))
	}
	return nil
}

// setPlatforms reads platforms, several in a word with commas between.
func (c *Config) setPlatforms(words []string) error {
	c.Platforms, c.AllPlatforms = nil, false
	for _, w := range words {
		for _, s := range strings.Split(w, ",") {
			if s == "all" {
				c.AllPlatforms = true
				continue
			}
			p, err := oci.ParsePlatform(s)
			if err != nil {
				return err
			}
			c.Platforms = append(c.Platforms, p)
		}
	}
	if c.AllPlatforms {
		c.Platforms = nil
	}
	return nil
}

// base is that of a program, as the file says; "": it says none.
func (c *Config) base(importPath string) string {
	name := c.Overrides[strings.ToLower(importPath)]
	if name == "" {
		name = c.Base
	}
	if strings.HasPrefix(name, "ko.local/") { // ko has it in the Docker engine
		name = "docker-daemon:" + name
	}
	return name
}

// members calls f for each member of a mapping, with what merge keys and aliases
// bring left out: none of the keys has a use for them.
func members(n *yaml.Node, f func(key string, v *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return at(n, oci.Errorf(oci.ErrInvalid, "want keys with values"))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := f(n.Content[i].Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// text is a scalar.
func text(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case isNull(n):
		return "", nil
	case n.Kind != yaml.ScalarNode:
		return "", oci.Errorf(oci.ErrInvalid, "want text")
	}
	return n.Value, nil
}

// list is a list of scalars, or a single one, of which words can be meant.
func list(n *yaml.Node, words bool) (out []string, err error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.SequenceNode {
		s, err := text(n)
		switch {
		case err != nil:
			return nil, oci.Errorf(oci.ErrInvalid, "want text or a list of it")
		case words:
			return strings.Fields(s), nil
		case s == "":
			return nil, nil
		}
		return []string{s}, nil
	}
	for _, e := range n.Content {
		s, err := text(e)
		if err != nil {
			return nil, at(e, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// A lineError says where in a file something is wrong.
type lineError struct {
	line int
	error
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.error) }
func (e lineError) Unwrap() error { return e.error }

// at adds the line to an error that has none.
func at(n *yaml.Node, err error) error {
	if _, ok := errors.AsType[lineError](err); err == nil || ok {
		return err
	}
	return lineError{n.Line, err}
}
