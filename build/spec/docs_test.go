// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build/spec"
)

// forms are what a reader of the documentation writes.
var forms = map[spec.Form]string{
	spec.Text: "text", spec.List: "text, or a list of them", spec.Words: "list", spec.Pairs: "keys with texts",
	spec.Switch: "`true` or `false`", spec.Object: "keys with values", spec.Places: "list of places",
}

// The documentation has a row for each key, and its example is one.
func TestDocs(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "dray-yaml.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	head, rest, ok := strings.Cut(text, "-update -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("no place for the keys")
	}
	var b strings.Builder
	b.WriteString("| key | of | value | what |\n| --- | --- | --- | --- |\n")
	for _, k := range spec.Keys {
		of, doc := "all", strings.ReplaceAll(k.Doc, "|", `\|`)
		if len(k.Of) > 0 {
			of = strings.Join(k.Of, ", ")
		}
		if k.Flag != "" {
			doc += " As `--" + k.Flag + "`."
		}
		if k.Own {
			doc += " No default."
		}
		if k.Vars {
			doc += " With `${NAME}`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, of, forms[k.Form], doc)
	}
	golden(t, path, []byte(head+"-update -->\n"+b.String()+"<!-- end -->"+tail))

	_, example, _ := strings.Cut(text, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	f, err := parse(t, "d", example)
	if err != nil || len(f.Builds) != len(spec.Kinds) {
		t.Errorf("%v", err)
	}
	if err := valid(schema(t), example); err != nil {
		t.Error(err)
	}
}
