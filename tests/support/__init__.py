"""What tests share: simulated systems, servers, spec files and stores."""
