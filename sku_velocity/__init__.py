"""SKU movements from WMS and ERP APIs, proven whole, for warehouse slotting."""
