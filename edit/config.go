// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// The members of a config's config object that Unset takes out (image-spec,
// config.md, "config", and those that only Docker's tools use).
const (
	Entrypoint   = "Entrypoint"
	Cmd          = "Cmd"
	Env          = "Env"
	Labels       = "Labels"
	User         = "User"
	WorkingDir   = "WorkingDir"
	ExposedPorts = "ExposedPorts"
	Volumes      = "Volumes"
	StopSignal   = "StopSignal"
	Healthcheck  = "Healthcheck"
	Shell        = "Shell"
	OnBuild      = "OnBuild"
)

// Unset takes out a member of the config object, as if it had never been set.
func Unset(member string) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		i.Remove("config", member)
		return nil
	}
}

func (i *Image) needConfig() error {
	if i.config == nil {
		return oci.Errorf(oci.ErrUnsupported, "an artifact, which has no image config")
	}
	return nil
}

// SetEntrypoint sets the words of the entrypoint and leaves the command alone.
// No words: the image has an empty one, which is not the same as none.
func SetEntrypoint(words ...string) Edit { return list(Entrypoint, words) }

// SetCmd sets the words of the command and leaves the entrypoint alone.
func SetCmd(words ...string) Edit { return list(Cmd, words) }

// SetShell sets the words that Docker puts before commands in the form of one
// text.
func SetShell(words ...string) Edit { return list(Shell, words) }

// SetOnBuild sets the instructions that run when an image is built on this one.
func SetOnBuild(instructions ...string) Edit { return list(OnBuild, instructions) }

func list(member string, words []string) Edit {
	return func(i *Image) error {
		if err := checkText(member, words...); err != nil {
			return err
		}
		return i.Set(append([]string{}, words...), "config", member)
	}
}

// SetUser sets the user, as NAME, UID, NAME:GROUP and so on.
func SetUser(user string) Edit { return text(User, user) }

// SetStopSignal sets the signal that ends a container, as SIGTERM or a number.
func SetStopSignal(signal string) Edit { return text(StopSignal, signal) }

func text(member, value string) Edit {
	return func(i *Image) error {
		if err := checkText(member, value); err != nil {
			return err
		}
		return i.Set(value, "config", member)
	}
}

// SetWorkdir sets the directory that processes start in. ErrInvalid if it is not
// absolute for the image's operating system.
func SetWorkdir(dir string) Edit {
	return func(i *Image) error {
		if err := i.checkAbsolute(dir); err != nil {
			return err
		}
		return text(WorkingDir, dir)(i)
	}
}

// SetAuthor sets who made the image.
func SetAuthor(name string) Edit {
	return func(i *Image) error {
		if err := checkText("author", name); err != nil {
			return err
		}
		return i.Set(name, "author")
	}
}

// SetEnv sets a variable, in its place if it is there. The names of variables
// in Windows images are equal whatever their case; the spelling stays.
func SetEnv(key, value string) Edit {
	return func(i *Image) error {
		if key == "" || strings.Contains(key, "=") {
			return oci.Errorf(oci.ErrInvalid, "%s cannot be the name of a variable", oci.Quote(key))
		}
		if err := checkText("a variable", key, value); err != nil {
			return err
		}
		all, err := i.env(key)
		for _, n := range all {
			if err == nil {
				err = i.setEnvAt(n, value)
			}
		}
		if err != nil || len(all) > 0 {
			return err
		}
		return i.push(key+"="+value, "config", Env)
	}
}

// RemoveEnv takes out a variable.
func RemoveEnv(key string) Edit {
	return func(i *Image) error {
		all, err := i.env(key)
		for _, n := range slices.Backward(all) {
			i.config.Remove("config", Env, n)
		}
		if len(all) > 0 && i.config.Len("config", Env) == 0 {
			i.config.Remove("config", Env)
		}
		return err
	}
}

// env finds a variable; a config can have it several times.
func (i *Image) env(key string) (at []int, err error) {
	if err := i.needConfig(); err != nil {
		return nil, err
	}
	windows := i.Platform().OS == "windows"
	for n, line := range i.config.Elements("config", Env) {
		if k := variable(line); string(k) == key || windows && strings.EqualFold(string(k), key) {
			at = append(at, n)
		}
	}
	return at, nil
}

// variable is the name in a line of the environment. A config can have very many
// of them, which are not decoded where they can be read as they are.
func variable(line json.RawMessage) []byte {
	if raw, _, ok := bytes.Cut(line, []byte("=")); ok && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return raw[1:]
	}
	var text string
	_ = json.Unmarshal(line, &text) // was read before
	key, _, _ := strings.Cut(text, "=")
	return []byte(key)
}

func (i *Image) setEnvAt(n int, value string) error {
	key := variable(i.config.Get("config", Env, n))
	return setAt(i.config, string(key)+"="+value, "config", Env, n)
}

// SetLabel sets a label.
func SetLabel(key, value string) Edit {
	return func(i *Image) error {
		if key == "" {
			return oci.Errorf(oci.ErrInvalid, "a label needs a name")
		}
		return i.Set(value, "config", Labels, key)
	}
}

// RemoveLabel takes out a label.
func RemoveLabel(key string) Edit {
	return func(i *Image) error {
		if err := i.needConfig(); err != nil {
			return err
		}
		removeMember(i.config, key, "config", Labels)
		return nil
	}
}

// push appends to a list of the config.
func (i *Image) push(value any, path ...string) error {
	at := keys(path)
	if i.config.Len(at...) < 0 && isNull(i.Get(path...)) {
		if err := i.Set([]string{}, path...); err != nil {
			return err
		}
	}
	return i.config.Set(value, append(at, i.config.Len(at...))...)
}

// checkText refuses what no process could be given.
func checkText(what string, words ...string) error {
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return oci.Errorf(oci.ErrInvalid, "%s: %s has a zero byte", what, oci.Quote(w))
		}
	}
	return nil
}

// checkAbsolute refuses a path that depends on where a process is.
func (i *Image) checkAbsolute(path string) error {
	ok := strings.HasPrefix(path, "/")
	if i.Platform().OS == "windows" {
		ok = ok || strings.HasPrefix(path, `\`) || len(path) > 2 && path[1] == ':' && strings.ContainsRune(`\/`, rune(path[2]))
	}
	if !ok {
		return oci.Errorf(oci.ErrInvalid, "path %s is not absolute", oci.Quote(path))
	}
	return nil
}
