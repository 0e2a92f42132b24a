"""What becomes of a trained model: compared, decided on, promoted, traced back, trained again."""
