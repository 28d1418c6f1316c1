// Package check decodes a manifest with the types of Argo Workflows. It is a
// module of its own, so that calrun does not depend on Kubernetes.
package check

import (
	"os"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v4/pkg/apis/workflow/v1alpha1"
	"sigs.k8s.io/yaml"
)

// ARGO_MANIFEST is what `calrun export argo` wrote.
func TestManifestIsAWorkflow(t *testing.T) {
	data, err := os.ReadFile(os.Getenv("ARGO_MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	var wf wfv1.Workflow
	if err := yaml.UnmarshalStrict(data, &wf); err != nil {
		t.Fatal(err)
	}
	if wf.APIVersion != wfv1.SchemeGroupVersion.String() || wf.Kind != "Workflow" || wf.GenerateName == "" {
		t.Errorf("%s %s %s", wf.APIVersion, wf.Kind, wf.GenerateName)
	}
	node := wf.GetTemplateByName(wf.Spec.Entrypoint)
	if node == nil || node.Container == nil || len(node.Container.VolumeMounts) != 1 {
		t.Fatalf("the entrypoint %q is no container with a volume", wf.Spec.Entrypoint)
	}
	if claim := wf.Spec.VolumeClaimTemplates; len(claim) != 1 || claim[0].Name != node.Container.VolumeMounts[0].Name {
		t.Errorf("the volume %s has no claim", node.Container.VolumeMounts[0].Name)
	}
	if s := wf.Spec.Synchronization; s == nil || len(s.Mutexes) != 1 || s.Mutexes[0].Name != "a100-node-1" {
		t.Errorf("locks: %+v", s)
	}
	if p := wf.Spec.Arguments.GetParameterByName("rate"); p == nil || p.GetValue() != "30" {
		t.Errorf("parameter rate: %+v", p)
	}
	secret := false
	for _, e := range node.Container.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			secret = secret || e.ValueFrom.SecretKeyRef.Key == "token" && e.Value == ""
		}
	}
	if !secret {
		t.Error("the secret input does not come from a secret")
	}
	var outputs []string
	for _, p := range node.Outputs.Parameters {
		outputs = append(outputs, p.Name)
	}
	if strings.Join(outputs, " ") != "verdict exit" {
		t.Errorf("output parameters %q", outputs)
	}
	// Whatever Argo would replace is one of its own parameters.
	text := string(data)
	for _, tag := range strings.Split(text, "{{")[1:] {
		if !strings.HasPrefix(tag, "workflow.parameters.") {
			t.Errorf("Argo would replace {{%.40s", tag)
		}
	}
}
