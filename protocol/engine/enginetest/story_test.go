package enginetest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStories runs the scripts in testdata.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := RunStory(name, string(text), 1); err != nil {
				t.Error(err)
			}
		})
	}
}
