// SPDX-License-Identifier: Apache-2.0

package rebase

import (
	"encoding/json"

	"github.com/dray-tools/dray/edit"
	"github.com/dray-tools/dray/image"
	"github.com/dray-tools/dray/internal/jsonedit"
	"github.com/dray-tools/dray/oci"
)

// lifecycleLabel is where buildpacks record how an image was made (platform
// specification of Cloud Native Buildpacks, "Labels").
const lifecycleLabel = "io.buildpacks.lifecycle.metadata"

// A RunImage is the base that buildpacks have recorded.
type RunImage struct {
	Layers    int    // of it in the image
	Reference string // its name with a digest, or an ID; "": not recorded
	Name      string // that newer ones have too; "": not recorded
}

// Buildpacks reads what buildpacks have recorded about an image's base; false
// if there is nothing, or no layer that fits. If the top layer of the base is
// there twice, the lower one counts.
func Buildpacks(app *edit.Image) (RunImage, bool) {
	type run struct{ TopLayer, Reference, Image string }
	var doc struct {
		RunImage run
		Stack    struct{ RunImage run }
	}
	if json.Unmarshal([]byte(labels(app.RawConfig())[lifecycleLabel]), &doc) != nil || doc.RunImage.TopLayer == "" {
		return RunImage{}, false
	}
	r := RunImage{Reference: doc.RunImage.Reference, Name: doc.RunImage.Image}
	if r.Name == "" {
		r.Name = doc.Stack.RunImage.Image
	}
	for n, l := range app.Layers() {
		if string(l.DiffID) == doc.RunImage.TopLayer {
			r.Layers = n + 1
			return r, true
		}
	}
	return RunImage{}, false
}

// record brings the buildpacks' label up to date, if there is one.
func record(app *edit.Image, onto *image.Image, reference string) error {
	text, ok := labels(app.RawConfig())[lifecycleLabel]
	if !ok || len(onto.DiffIDs) == 0 {
		return nil
	}
	doc, err := jsonedit.Parse([]byte(text))
	if err != nil || doc.Get("runImage", "topLayer") == nil {
		return nil // nothing that a lifecycle has written
	}
	if err = doc.Set(onto.DiffIDs[len(onto.DiffIDs)-1], "runImage", "topLayer"); err == nil && reference != "" && doc.Get("runImage", "reference") != nil {
		err = doc.Set(reference, "runImage", "reference")
	}
	if err != nil {
		return oci.Wrap("label", lifecycleLabel, err)
	}
	return app.Set(string(doc.Bytes()), "config", "Labels", lifecycleLabel)
}
