"""Root-cause analysis of incidents: intake, collection, prediction, reports. The programs are the `.sem` files."""
