{{- define "diskyard.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "diskyard.labels" -}}
app.kubernetes.io/part-of: diskyard
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: storage
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
cdi.kubevirt.io: ""
operator.cdi.kubevirt.io: ""
{{- end }}

{{- /* What a program's pod may: nothing but its work. */}}
{{- define "diskyard.pod" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 107
  runAsGroup: 107
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}

{{- define "diskyard.container" -}}
image: {{ include "diskyard.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: DISKYARD_IMAGE
    value: {{ include "diskyard.image" . }}
ports:
  - {name: metrics, containerPort: 8443, protocol: TCP}
livenessProbe:
  httpGet: {path: /healthz, port: 8443, scheme: HTTPS}
  periodSeconds: 20
  timeoutSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: 8443, scheme: HTTPS}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}
