"""Everything that is shipped in deploy/ and grafana_dashboards/, judged by the tool that it is made for."""
