package config

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

// Step is what a build has that is a step of a pipeline.
type Step struct {
	Name string
	// Recipe is the digest of the step's definition: what else decides the result but tree, command and inputs.
	Recipe string
	// Inputs are the earlier steps whose artifacts this one sees.
	Inputs []string
	// InputsDir is the volume that they are put on; the build has it read-only.
	InputsDir string
}

var recipePattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Layout gives the names of the build's blobs.
func (c Config) Layout() contract.Layout {
	if c.Step == nil {
		return contract.LayoutOf(c.BuildTag, "")
	}
	return contract.LayoutOf(c.BuildTag, c.Step.Name)
}

// Name is what a person calls the build by: BUILD_TAG, or BUILD_TAG/STEP.
func (c Config) Name() string {
	if c.Step == nil {
		return c.BuildTag
	}
	return c.BuildTag + "/" + c.Step.Name
}

// stepOf reads the KE1_STEP* variables; nil without KE1_STEP.
func stepOf(getenv func(string) string) (*Step, []string) {
	name := getenv("KE1_STEP")
	if name == "" {
		return nil, nil
	}
	var problems []string
	step := &Step{Name: name, Recipe: getenv("KE1_STEP_RECIPE"), InputsDir: getenv("KE1_INPUTS_DIR")}
	if !contract.Step.MatchString(name) {
		problems = append(problems, fmt.Sprintf("KE1_STEP is not the name of a step: %q", name))
	}
	if !recipePattern.MatchString(step.Recipe) {
		problems = append(problems, fmt.Sprintf("KE1_STEP_RECIPE is not sha256:<hex>: %q", step.Recipe))
	}
	if inputs := getenv("KE1_STEP_INPUTS"); inputs != "" {
		if err := json.Unmarshal([]byte(inputs), &step.Inputs); err != nil {
			problems = append(problems, fmt.Sprintf("KE1_STEP_INPUTS is not a JSON array of names: %q", inputs))
		}
	}
	for _, input := range step.Inputs {
		if !contract.Step.MatchString(input) || input == name {
			problems = append(problems, fmt.Sprintf("KE1_STEP_INPUTS has what is not the name of another step: %q", input))
		}
	}
	if len(step.Inputs) > 0 {
		if info, err := os.Stat(step.InputsDir); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Sprintf("KE1_INPUTS_DIR is not a directory: %q", step.InputsDir))
		}
	}
	return step, problems
}
