// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/dray-tools/dray/internal/jsonedit"
)

// orders are those in which programs write the members of configs and of the
// config in them: the specification's with BuildKit's after them, and Docker's.
// Docker's engine writes the outer ones by name.
var orders = [][]string{
	{"created", "author", "architecture", "variant", "os", "os.version", "os.features", "config", "rootfs", "history",
		"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped",
		"Healthcheck", "OnBuild", "StopTimeout", "Shell"},
	{"Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty", "OpenStdin", "StdinOnce",
		"Env", "Cmd", "Healthcheck", "ArgsEscaped", "Image", "Volumes", "WorkingDir", "Entrypoint", "NetworkDisabled", "MacAddress",
		"OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell"},
}

// Insert is Set, but a member that is new comes where a program would have
// written it that wrote the others: so that a member which is taken out and put
// in again leaves the config as it was.
func (i *Image) Insert(value any, path ...string) error {
	if i.config == nil || len(path) == 0 || i.config.Get(keys(path)...) != nil {
		return i.Set(value, path...)
	}
	if raw, ok := value.(json.RawMessage); ok {
		value = asIn(i.config, raw)
	}
	last := len(path) - 1
	around := keys(path[:last])
	if last > 0 && isNull(i.config.Get(around...)) {
		if err := i.Insert(json.RawMessage("{}"), path[:last]...); err != nil {
			return err
		}
	}
	next := following(i.config.Keys(around...), path[last])
	return i.config.SetBefore(next, value, keys(path)...)
}

// following finds the member that comes after a new one; "": none does.
func following(have []string, key string) string {
	for _, o := range orders {
		rank := func(s string) int { return slices.Index(o, s) }
		known := slices.DeleteFunc(slices.Clone(have), func(s string) bool { return rank(s) < 0 })
		byRank := func(a, b string) int { return rank(a) - rank(b) }
		if rank(key) >= 0 && slices.IsSortedFunc(known, byRank) {
			return after(known, key, byRank)
		}
	}
	if slices.IsSorted(have) {
		return after(have, key, strings.Compare)
	}
	return ""
}

func after(have []string, key string, compare func(a, b string) int) string {
	for _, k := range have {
		if compare(key, k) < 0 {
			return k
		}
	}
	return ""
}

// SetList makes an array of strings in the config what values are; elements that
// are the same at its start and its end keep their bytes.
func (i *Image) SetList(values []string, path ...string) error {
	var have []string
	if err := json.Unmarshal(i.Get(path...), &have); err != nil || len(have) == 0 || len(values) == 0 {
		return i.Insert(values, path...)
	}
	from := 0
	for from < min(len(have), len(values)) && have[from] == values[from] {
		from++
	}
	end := 0
	for end < min(len(have), len(values))-from && have[len(have)-1-end] == values[len(values)-1-end] {
		end++
	}
	var add []any
	for _, v := range values[from : len(values)-end] {
		add = append(add, v)
	}
	if from == len(have)-end && len(add) == 0 {
		return nil
	}
	return i.config.Splice(from, len(have)-end, add, keys(path)...)
}

// asIn takes the space out of JSON that comes into a document without lines.
func asIn(doc *jsonedit.Document, raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if doc.Lines() || json.Compact(&out, raw) != nil {
		return raw
	}
	return out.Bytes()
}
