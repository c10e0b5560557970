"""Values for the chart that switch everything on, for the tests that look at all of it."""

from typing import Any

__all__ = ["EVERYTHING", "EXTRA_OBJECTS", "MODES", "OWN_EGRESS", "POD_MONITOR"]

_MONITOR = {
    "enabled": True,
    "namespace": "monitoring",
    "labels": {"release": "prometheus"},
    "annotations": {"example.com/why": "metrics"},
    "interval": "30s",
    "scrapeTimeout": "10s",
    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
    "metricRelabelings": [{"action": "labeldrop", "regex": "endpoint"}],
}


def _container(name: str, **fields: Any) -> dict[str, Any]:
    """One that a restricted namespace lets in."""
    return {
        "name": name,
        "image": "registry.example.com/helper:1",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **fields,
    }


EVERYTHING: dict[str, Any] = {
    "global": {
        "imageRegistry": "mirror.example.com",
        "imagePullSecrets": ["pull", {"name": "mirror"}],
        "anything": "goes",
    },
    "commonLabels": {"team": "platform"},
    "commonAnnotations": {"example.com/owner": "platform"},
    "security": {"requireSecretLabel": True, "allowAddresses": ["169.254.20.0/24", "::1"]},
    "serviceAccountTokens": {"enabled": True},
    "crds": {"annotations": {"example.com/why": "crds"}, "labels": {"kept": "yes"}},
    "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "serviceAccount": {
        "annotations": {"example.com/role": "springline"},
        "labels": {"identity": "workload"},
    },
    "listen": {"host": "[::]", "port": 9090},
    "limits": {"leastRetryDelay": 2.5, "attemptsAtOnce": 50},
    "metrics": {
        "perObject": False,
        "service": {
            "port": 80,
            "ipFamilyPolicy": "PreferDualStack",
            "ipFamilies": ["IPv4"],
            "annotations": {"example.com/a": "b"},
            "labels": {"scrape": "me"},
        },
        "serviceMonitor": _MONITOR,
    },
    "dashboard": {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"shown": "yes"},
        "annotations": {"example.com/why": "dashboard"},
        "folder": "Brokers",
    },
    "prometheusRule": {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"release": "prometheus"},
        "annotations": {"example.com/why": "alerts"},
        "interval": "30s",
        "job": "springline",
        "runbookURL": "https://docs.example.com/runbooks/{alert}.html",
        "alertLabels": {"team": "messaging"},
        "alerts": {"SpringlineBlockUnseen": {"enabled": False}, "SpringlineDown": {"for": "1m"}},
    },
    "networkPolicy": {
        "enabled": True,
        "ingressFrom": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "ports": [{"port": 5671, "protocol": "TCP"}],
            },
            {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]},
        ],
    },
    "podDisruptionBudget": {"enabled": True},
    "probes": {
        "startup": {"terminationGracePeriodSeconds": 1},
        "liveness": {"initialDelaySeconds": 5, "successThreshold": 1},
    },
    "hostUsers": False,
    "tmp": {"enabled": True},
    "deploymentAnnotations": {"example.com/why": "deployment"},
    "podAnnotations": {"example.com/why": "pod"},
    "podLabels": {"team": "messaging"},
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "preference": {
                        "matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]
                    },
                }
            ]
        }
    },
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/part-of": "springline"}},
        }
    ],
    # One that every cluster has.
    "priorityClassName": "system-cluster-critical",
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["rabbit.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {
        "nameservers": ["10.0.0.10"],
        "searches": ["svc.cluster.local"],
        "options": [{"name": "ndots", "value": "2"}],
    },
    "extraArgs": ["--log-level=debug"],
    "extraEnv": [{"name": "SSL_CERT_DIR", "value": "/certificates"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "extraVolumes": [{"name": "certificates", "configMap": {"name": "certificates"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}],
    "extraContainers": [_container("helper")],
    "extraInitContainers": [_container("sidecar", restartPolicy="Always"), _container("before")],
    "uninstall": {"stopFirst": True},
}

# What a user adds, which has neither the names nor the labels of the chart.
EXTRA_OBJECTS: dict[str, Any] = {
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "certificates", "namespace": "monitoring"},
            "data": {"braces": "{{ stay }}"},
        },
        """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: more
  namespace: {{ .Release.Namespace | quote }}
data:
  image: {{ include "springline.image" . }}
""",
    ],
}

# The NetworkPolicy's own rules, which those of EVERYTHING take the place of.
OWN_EGRESS: dict[str, Any] = {"networkPolicy": {"enabled": True}}

# There is one monitor or the other.
POD_MONITOR: dict[str, Any] = {
    "metrics": {"serviceMonitor": {"enabled": False}, "podMonitor": _MONITOR}
}

# What the operator looks after, in every way there is.
MODES: dict[str, dict[str, Any]] = {
    "the cluster": {},
    "the cluster without ClusterBrokers": {"watch": {"clusterBrokers": False}},
    "two namespaces": {"watch": {"namespaces": ["orders", "billing"]}},
    "two namespaces and ClusterBrokers": {
        "watch": {"namespaces": ["orders", "billing"], "clusterBrokers": True}
    },
}
