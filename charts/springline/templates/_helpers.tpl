{{/*
Names, labels and rules that several templates share. Overrides and names of releases have 53
characters at most.
*/}}

{{- define "springline.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "springline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "springline.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What selects the operator's Pod. It can never be changed, so values have no say in it. */}}
{{- define "springline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "springline.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The same, as kubectl and the API server's lists take it. */}}
{{- define "springline.selector" -}}
{{- printf "app.kubernetes.io/name=%s,app.kubernetes.io/instance=%s" (include "springline.name" .) .Release.Name -}}
{{- end -}}

{{/* The Pods of hooks must not be selected: another name. Takes (list $ name). */}}
{{- define "springline.hookLabels" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ printf "%s-%s" (include "springline.name" $root) (last .) | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
{{- end -}}

{{/*
Labels of an object: the chart's, else its own, else those for all objects. As a dictionary, so that
no key is there twice. Takes (list $ labels…), the most important first.
*/}}
{{- define "springline.labels" -}}
{{- $root := first . -}}
{{- $labels := include "springline.selectorLabels" $root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | toString) -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "springline" -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- range append (rest .) $root.Values.commonLabels -}}
{{- $labels = merge $labels . -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/*
Annotations of an object, empty without any: its own count more than those for all objects. Takes
(list $ annotations…), the most important first.
*/}}
{{- define "springline.annotations" -}}
{{- $annotations := dict -}}
{{- range append (rest .) (first .).Values.commonAnnotations -}}
{{- $annotations = merge $annotations (default dict .) -}}
{{- end -}}
{{- if $annotations -}}
{{- toYaml $annotations -}}
{{- end -}}
{{- end -}}

{{/*
Labels of the operator's Pod, without the chart's version: a new chart is no reason to close every
session.
*/}}
{{- define "springline.podLabels" -}}
{{- $labels := include "springline.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "springline" -}}
{{- toYaml (merge $labels .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "springline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "springline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
The image, for every container of the chart. The first part of a repository is a registry if it could
be a host's name, as container runtimes see it; without one it is theirs to choose.
*/}}
{{- define "springline.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with (default dict .Values.global).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Secrets to pull the image with, each once, as Kubernetes has them; empty without any. */}}
{{- define "springline.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.imagePullSecrets) (default list (default dict .Values.global).imagePullSecrets) -}}
{{- if kindIs "map" . -}}
{{- $names = append $names .name -}}
{{- else -}}
{{- $names = append $names . -}}
{{- end -}}
{{- end -}}
{{- range uniq $names }}
- name: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* What every Pod of the chart has in its spec. */}}
{{- define "springline.podSpec" -}}
# A Service that is called springline-… would become SPRINGLINE_… variables, which are options.
enableServiceLinks: false
{{- if not (kindIs "invalid" .Values.hostUsers) }}
hostUsers: {{ .Values.hostUsers }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "springline.imagePullSecrets" . | trim }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "true" if ClusterBrokers are looked after: as the operator decides it itself. */}}
{{- define "springline.clusterBrokers" -}}
{{- if kindIs "invalid" .Values.watch.clusterBrokers -}}
{{- empty .Values.watch.namespaces -}}
{{- else -}}
{{- .Values.watch.clusterBrokers -}}
{{- end -}}
{{- end -}}

{{/* What the operator does in a namespace. Of what is a user's, nothing is written but status. */}}
{{- define "springline.namespacedRules" -}}
- apiGroups: [springline.dev]
  resources: [brokers, brokerconnections]
  verbs: [get, list, watch]
- apiGroups: [springline.dev]
  resources: [brokers/status, brokerconnections/status]
  verbs: [patch]
# What Brokers and BrokerConnections refer to. Watched as metadata alone; read where referred to.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
# endpointsFrom.service
- apiGroups: [""]
  resources: [services]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.binding.enabled }}
# spec.binding: a Secret for applications, written for a BrokerConnection and owned by it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, update, delete]
{{- end }}
{{- if .Values.serviceAccountTokens.enabled }}
# credentials.serviceAccount
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
{{- end -}}

{{/* What ClusterBrokers take, beyond any namespace. */}}
{{- define "springline.clusterBrokerRules" -}}
- apiGroups: [springline.dev]
  resources: [clusterbrokers]
  verbs: [get, list, watch]
- apiGroups: [springline.dev]
  resources: [clusterbrokers/status]
  verbs: [patch]
# allowedNamespaces.selector
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end -}}

{{/* What a ServiceMonitor and a PodMonitor have in common. Takes one's values. */}}
{{- define "springline.scraping" -}}
port: http
path: /metrics
honorLabels: {{ .honorLabels }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What Prometheus calls the operator in the label `job`; empty where the chart cannot know it. */}}
{{- define "springline.job" -}}
{{- $metrics := .Values.metrics -}}
{{- if .Values.prometheusRule.job -}}
{{- .Values.prometheusRule.job -}}
{{- else if $metrics.serviceMonitor.enabled -}}
{{- include "springline.fullname" . -}}
{{- else if $metrics.podMonitor.enabled -}}
{{- printf "%s/%s" (default (include "springline.namespace" .) $metrics.podMonitor.namespace) (include "springline.fullname" .) -}}
{{- end -}}
{{- end -}}
