// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// bad runs the script of a kind of bad input.
func bad(t *testing.T, name string) {
	t.Parallel()
	testscript.Run(t, params(testscript.Params{Files: []string{filepath.Join("testdata", "bad", name+".txtar")}}))
}

func TestBad_001_References(t *testing.T)      { bad(t, "001_references") }
func TestBad_002_Characters(t *testing.T)      { bad(t, "002_characters") }
func TestBad_004_Pin(t *testing.T)             { bad(t, "004_pin") }
func TestBad_018_WebPage(t *testing.T)         { bad(t, "018_web_page") }
func TestBad_026_Escapes(t *testing.T)         { bad(t, "026_escapes") }
func TestBad_026_Rebase(t *testing.T)          { bad(t, "026_rebase") }
func TestBad_056_RudeAnswer(t *testing.T)      { bad(t, "056_rude_answer") }
func TestBad_092_Config(t *testing.T)          { bad(t, "092_config") }
func TestBad_094_SecretsInOutput(t *testing.T) { bad(t, "094_secrets") }
func TestBad_098_InterruptedOnce(t *testing.T) { bad(t, "098_interrupted") }
