"""SKU movements from WMS and ERP APIs, proved whole, for warehouse slotting."""
