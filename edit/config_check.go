// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"encoding/json"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// The members of a config that encoding/json would also take in other letter
// case, which an edit would not find.
var spellings = map[string][]string{
	"":       {"created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"},
	"config": {Entrypoint, Cmd, Env, Labels, User, WorkingDir, ExposedPorts, Volumes, StopSignal, Healthcheck, Shell, OnBuild},
	"rootfs": {"type", "diff_ids"},
}

var (
	healthSpellings  = []string{"Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"}
	historySpellings = []string{"created", "created_by", "author", "comment", "empty_layer"}
)

// parseConfig reads a config strictly. ErrInvalid if it is broken, could be
// understood in two ways, or does not have a diff ID for each layer.
func parseConfig(raw []byte, layers int) (*jsonedit.Document, v1.Image, error) {
	var c v1.Image
	if len(raw) > oci.MaxConfig {
		return nil, c, oci.Errorf(oci.ErrInvalid, "config of %d bytes, more than %d", len(raw), oci.MaxConfig)
	}
	doc, err := jsonedit.Parse(raw)
	if err != nil {
		return nil, c, oci.Wrap("", "config", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, c, oci.Errorf(oci.ErrInvalid, "config: %w", err)
	}
	if doc.Len() < 0 || raw[0] == '[' {
		return nil, c, oci.Errorf(oci.ErrInvalid, "config is no object")
	}
	if n := len(c.RootFS.DiffIDs); n != layers {
		return nil, c, oci.Errorf(oci.ErrInvalid, "config has %d diff IDs for %d layers", n, layers)
	}
	for _, id := range c.RootFS.DiffIDs {
		if _, err := oci.ParseDigest(string(id)); err != nil {
			return nil, c, oci.Errorf(oci.ErrInvalid, "config: %w", err)
		}
	}
	return doc, c, checkSpelling(doc)
}

func checkSpelling(doc *jsonedit.Document) error {
	for object, known := range spellings {
		var at []any
		if object != "" {
			at = append(at, object)
		}
		if err := checkKeys(doc.Get(at...), known); err != nil {
			return err
		}
	}
	if err := checkKeys(doc.Get("config", Healthcheck), healthSpellings); err != nil {
		return err
	}
	for _, line := range doc.Elements("history") {
		if err := checkKeys(line, historySpellings); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys checks the members of an object; anything else has none.
func checkKeys(object json.RawMessage, known []string) error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(object, &members)
	for key := range members {
		for _, want := range known {
			if key != want && strings.EqualFold(key, want) {
				return oci.Errorf(oci.ErrInvalid, "config has the key %s for %q", oci.Quote(key), want)
			}
		}
	}
	return nil
}
